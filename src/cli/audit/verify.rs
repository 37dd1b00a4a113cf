//! `conclave audit verify`: whether an exported trail is whole.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{FORMAT, FirstLine};
use crate::api::record::{HeadView, RecordView};
use crate::cli::Failure;
use crate::domain::AccountId;
use crate::domain::audit::Chain;

/// What a whole trail is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    head: HeadView,
    records: u64,
    /// The time of the first and of the last record.
    span: Option<(String, String)>,
    /// Which record has the hash that was asked for.
    witnessed: Option<u64>,
}

/// Why a trail is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the first line is not that of an exported trail: {0}")]
    NoTrail(String),
    #[error("line {line} is no record: {problem}")]
    NoRecord { line: u64, problem: String },
    /// The record's members, or its hash, are not what was hashed.
    #[error("record {0} was changed")]
    Changed(u64),
    /// A record is missing, moved, or does not know the one before it.
    #[error("the chain breaks at record {found}: record {expected} has to follow, with the hash before it")]
    Gap { found: u64, expected: u64 },
    #[error("record {0} is older than the one before it")]
    Backwards(u64),
    #[error("the trail ends with record {found} and not with {expected}, or with another hash")]
    WrongEnd { found: u64, expected: u64 },
    #[error("the ends in the first line contradict each other")]
    WrongBeginning,
    #[error("no record has the hash {0}")]
    NotWitnessed(String),
}

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Checks a file; `head` is a hash that one of its records must have.
pub(super) fn file(path: &Path, head: Option<&str>) -> Result<Whole, Failure> {
    let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    check(BufReader::new(file), head).map_err(|broken| format!("{}: {broken}", path.display()).into())
}

pub(crate) fn check(lines: impl BufRead, witness: Option<&str>) -> Result<Whole, Broken> {
    let mut lines = (1..).zip(lines.lines());
    let head = match lines.next() {
        Some((_, Ok(text))) => first_line(&text)?,
        Some((_, Err(error))) => return Err(Broken::NoTrail(error.to_string())),
        None => return Err(Broken::NoTrail("the file is empty".to_owned())),
    };
    let account = AccountId::parse(&head.account).map_err(|error| Broken::NoTrail(error.to_string()))?;
    let is_empty = head.first == 0;
    if is_empty != (head.sequence == 0) || (head.first <= 1 && head.anchor != ZEROS) {
        return Err(Broken::WrongBeginning);
    }
    let chain = Chain { account, trail: head.trail.into() };
    let mut last = Last { sequence: head.first.saturating_sub(1), hash: head.anchor.clone(), at: None };
    let mut whole = Whole { records: 0, span: None, witnessed: None, head };
    for (line, text) in lines {
        let no_record = |problem: String| Broken::NoRecord { line, problem };
        let text = text.map_err(|error| no_record(error.to_string()))?;
        let record: RecordView = serde_json::from_str(&text).map_err(|error| no_record(error.to_string()))?;
        last.is_followed_by(&record, chain)?;
        if witness.is_some_and(|hash| hash.eq_ignore_ascii_case(&record.hash)) {
            whole.witnessed = Some(record.sequence);
        }
        whole.records += 1;
        let first = whole.span.take().map_or_else(|| record.at.clone(), |(first, _)| first);
        whole.span = Some((first, record.at.clone()));
        last = Last { sequence: record.sequence, hash: record.hash, at: Some((record.at, record.revision)) };
    }
    if last.sequence != whole.head.sequence || last.hash != whole.head.hash {
        return Err(Broken::WrongEnd { found: last.sequence, expected: whole.head.sequence });
    }
    match witness {
        Some(hash) if whole.witnessed.is_none() => Err(Broken::NotWitnessed(hash.to_owned())),
        Some(_) | None => Ok(whole),
    }
}

fn first_line(text: &str) -> Result<HeadView, Broken> {
    let first: FirstLine = serde_json::from_str(text).map_err(|error| Broken::NoTrail(error.to_string()))?;
    if first.format != FORMAT {
        return Err(Broken::NoTrail(format!("its format is not `{FORMAT}`")));
    }
    Ok(first.head)
}

/// The record before, or what stands for it at the beginning.
struct Last {
    sequence: u64,
    hash: String,
    /// Its time, which sorts as text, and its revision.
    at: Option<(String, u64)>,
}

impl Last {
    fn is_followed_by(&self, record: &RecordView, chain: Chain) -> Result<(), Broken> {
        // What is shown must be what was hashed, to the last member, and the hash that of these very bytes.
        if record.as_hashed(chain).as_ref() != Some(record) {
            return Err(Broken::Changed(record.sequence));
        }
        let expected = self.sequence.saturating_add(1);
        if record.sequence != expected || record.previous != self.hash {
            return Err(Broken::Gap { found: record.sequence, expected });
        }
        let is_older = |(at, revision): &(String, u64)| record.at < *at || record.revision < *revision;
        if self.at.as_ref().is_some_and(is_older) {
            return Err(Broken::Backwards(record.sequence));
        }
        Ok(())
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { head, records, span, witnessed } = self;
        write!(f, "{} of {}: {records} records", head.trail.text(), head.account)?;
        if let Some((from, to)) = span {
            write!(f, ", {} to {}, {from} to {to}", head.first, head.sequence)?;
        }
        writeln!(f, "\nunbroken; the last hash is {}", head.hash)?;
        if head.first > 1 {
            writeln!(
                f,
                "records before {} are kept no longer; the hash before is {}",
                head.first, head.anchor
            )?;
        }
        match witnessed {
            Some(sequence) => {
                write!(f, "record {sequence} has the hash that was given: all before it is as it was")
            }
            None => write!(f, "without --head, that nobody made the whole chain anew is not shown"),
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
