//! The rows as one command sees them: those that stand, and its own writes over them.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

use super::row::{Key, Row, Rows, Value, scan, scan_start};

/// The rows as one command sees them.
///
/// It reads its own writes. Nothing is written until the machine's verdict says `keep`.
#[derive(Debug)]
pub struct Transaction<'a> {
    rows: &'a Rows,
    revision: u64,
    // `None` is a deletion.
    writes: BTreeMap<Key, Option<Value>>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(rows: &'a Rows, revision: u64) -> Self {
        Self { rows, revision, writes: BTreeMap::new() }
    }

    /// The row of this name, if there is one.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Row> {
        match self.writes.get(key) {
            Some(written) => written.as_ref().map(|value| self.written(value)),
            None => self.rows.get(key).cloned(),
        }
    }

    /// Writes the row of this name, whether it is there or not.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.writes.insert(key.into(), Some(value.into()));
    }

    /// Deletes the row of this name, if it is there.
    pub fn delete(&mut self, key: &[u8]) {
        self.writes.insert(key.into(), None);
    }

    /// The rows whose keys start with `prefix` and lie behind `after` (a whole key, not a suffix), in key
    /// order.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>) -> impl Iterator<Item = (Key, Row)> {
        let end = prefix.to_vec();
        let writes = self
            .writes
            .range::<[u8], _>((scan_start(prefix, after), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(&end))
            .map(|(key, written)| (key, written.as_ref().map(|value| self.written(value))));
        Overlay { below: scan(self.rows, prefix, after).peekable(), above: writes.peekable() }
    }

    pub(super) fn into_writes(self) -> BTreeMap<Key, Option<Value>> {
        self.writes
    }

    fn written(&self, value: &Value) -> Row {
        Row { revision: self.revision, value: value.clone() }
    }
}

/// Two walks in key order as one; where both have a key, `above` counts.
struct Overlay<B: Iterator, A: Iterator> {
    below: Peekable<B>,
    above: Peekable<A>,
}

impl<'a, B, A> Iterator for Overlay<B, A>
where
    B: Iterator<Item = (&'a Key, &'a Row)>,
    A: Iterator<Item = (&'a Key, Option<Row>)>,
{
    type Item = (Key, Row);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((below, _)) = self.below.peek()
                && self.above.peek().is_none_or(|(above, _)| below < above)
            {
                return self.below.next().map(|(key, row)| (key.clone(), row.clone()));
            }
            let (key, written) = self.above.next()?;
            self.below.next_if(|(below, _)| *below == key);
            if let Some(row) = written {
                return Some((key.clone(), row));
            }
        }
    }
}
