//! Finding records in a trail: by what they say, from either end, a page at a time.
//!
//! # Why a page may be short
//! There is no index by action or actor: each would cost every write, for a question that is asked seldom. So
//! a page looks at [`MAX_LOOKED_AT`] records at most, and says where the next one goes on, also when it found
//! none. Records lie in the order of their time, so `since` and `until` cost nothing.

use super::{AuditHead, AuditRecord, Trail, get, head};
use crate::domain::{AccountId, Actor, Principal, Read, Rejection, Timestamp};

/// Which records are wanted; `None` wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub action: Option<Pattern>,
    pub target: Option<Pattern>,
    pub by: Option<By>,
    pub success: Option<bool>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

/// A text, or how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(String),
    Prefix(String),
}

/// Whose records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    Anonymous,
    System,
    KeyHolder,
    /// Any of these; none at all wants no record.
    Principals(Vec<Principal>),
}

/// From which end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    OldestFirst,
    NewestFirst,
}

/// Some of the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub records: Vec<AuditRecord>,
    /// Behind which sequence number to go on; `None` when there is nothing more to look at.
    pub next: Option<u64>,
}

/// The most records that one page looks at.
pub const MAX_LOOKED_AT: u64 = 2_000;

/// At most `limit` of the records that are wanted, in that order, behind the sequence number `after`.
///
/// # Errors
/// [`Rejection::Damaged`] if a record is missing or does not decode.
pub fn page(
    rows: &dyn Read,
    account: AccountId,
    trail: Trail,
    wanted: &Wanted,
    (order, after): (Order, Option<u64>),
    limit: usize,
) -> Result<Found, Rejection> {
    let mut found = Found::default();
    let reader = Reader { rows, account, trail };
    let head = head(rows, account, trail)?;
    let Some((mut first, mut last)) = reader.within(&head, wanted)? else { return Ok(found) };
    match (order, after) {
        (Order::OldestFirst, Some(after)) => first = first.max(after.saturating_add(1)),
        (Order::NewestFirst, Some(after)) => last = last.min(after.saturating_sub(1)),
        (_, None) => {}
    }
    for step in 0..MAX_LOOKED_AT {
        if first.saturating_add(step) > last {
            return Ok(found);
        }
        let sequence = match order {
            Order::OldestFirst => first + step,
            Order::NewestFirst => last - step,
        };
        let record = reader.at(sequence)?;
        if wanted.takes(&record) {
            found.records.push(record);
        }
        found.next = (first + step < last).then_some(sequence);
        if found.records.len() >= limit {
            break;
        }
    }
    Ok(found)
}

/// The records of one trail, by number.
struct Reader<'r> {
    rows: &'r dyn Read,
    account: AccountId,
    trail: Trail,
}

impl Reader<'_> {
    fn at(&self, sequence: u64) -> Result<AuditRecord, Rejection> {
        get(self.rows, self.account, self.trail, sequence)?.ok_or(Rejection::Damaged)
    }

    /// The first and last record in the time that is wanted.
    fn within(&self, head: &AuditHead, wanted: &Wanted) -> Result<Option<(u64, u64)>, Rejection> {
        if head.first == 0 {
            return Ok(None);
        }
        let end = head.sequence.saturating_add(1);
        let first = match wanted.since {
            Some(since) => self.first_since(head.first, end, since)?,
            None => head.first,
        };
        let beyond = match wanted.until {
            Some(until) => self.first_since(head.first, end, until)?,
            None => end,
        };
        Ok((first < beyond).then(|| (first, beyond - 1)))
    }

    /// The first record of `low..high` that is not before that moment; `high` if all are.
    fn first_since(&self, mut low: u64, mut high: u64, moment: Timestamp) -> Result<u64, Rejection> {
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle)?.at < moment {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

impl Wanted {
    fn takes(&self, record: &AuditRecord) -> bool {
        self.action.as_ref().is_none_or(|pattern| pattern.fits(&record.action))
            && self.target.as_ref().is_none_or(|pattern| pattern.fits(&record.target))
            && self.by.as_ref().is_none_or(|by| by.is(&record.by))
            && self.success.is_none_or(|success| success == record.success)
    }
}

impl Pattern {
    /// A final `*` stands for every ending.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(beginning) => Self::Prefix(beginning.to_owned()),
            None => Self::Exact(text.to_owned()),
        }
    }

    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Exact(whole) => text == whole,
            Self::Prefix(beginning) => text.starts_with(beginning.as_str()),
        }
    }
}

impl By {
    fn is(&self, actor: &Actor) -> bool {
        match (self, actor) {
            (Self::Anonymous, Actor::Anonymous)
            | (Self::System, Actor::System)
            | (Self::KeyHolder, Actor::KeyHolder(_)) => true,
            (Self::Principals(principals), Actor::SignedIn { principal, .. }) => {
                principals.contains(principal)
            }
            (Self::Anonymous | Self::System | Self::KeyHolder | Self::Principals(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::Observation;
    use crate::domain::testing::MemoryRows;
    use crate::domain::{Action, Command, Origin, UserId};

    const ACCOUNT: AccountId = AccountId::CLUSTER;

    /// By the number of a record.
    type IsWanted = fn(u64) -> bool;

    fn user(n: u8) -> Principal {
        Principal::User(UserId::new(uuid::Uuid::from_bytes([n; 16])))
    }

    /// A trail of checks, so many in each second from the first on.
    fn trail(records: u64, in_a_second: usize) -> MemoryRows {
        let mut rows = MemoryRows::default();
        let numbers: Vec<u64> = (1..=records).collect();
        for (second, numbers) in (1..).zip(numbers.chunks(in_a_second)) {
            let command = Command {
                account: ACCOUNT,
                by: Actor::System,
                origin: Origin::default(),
                expect: Vec::new(),
                action: Action::Observe(numbers.iter().map(|n| seen(*n)).collect()),
            };
            rows.apply(Timestamp(second * 1_000), &command).unwrap();
        }
        rows
    }

    fn seen(n: u64) -> Observation {
        let session = crate::domain::SessionId::new(uuid::Uuid::nil());
        let by = match n % 4 {
            0 => Actor::Anonymous,
            1 => Actor::SignedIn { principal: user(1), session },
            2 => Actor::SignedIn { principal: user(2), session },
            _ => Actor::KeyHolder(crate::domain::SecretHash::new([0; 32])),
        };
        Observation {
            trail: Trail::Checks,
            by,
            origin: Origin::default(),
            action: if n.is_multiple_of(5) { "role.assign" } else { "user.create" }.to_owned(),
            target: format!("thing/{n}"),
            success: !n.is_multiple_of(7),
            detail: String::new(),
            count: 1,
            used: None,
        }
    }

    /// All pages, and how many they were.
    fn all(rows: &MemoryRows, wanted: &Wanted, order: Order, limit: usize) -> (Vec<u64>, usize) {
        let (mut numbers, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let found = page(rows, ACCOUNT, Trail::Checks, wanted, (order, after), limit).unwrap();
            assert!(found.records.len() <= limit);
            numbers.extend(found.records.iter().map(|record| record.sequence));
            pages += 1;
            match found.next {
                Some(next) => after = Some(next),
                None => return (numbers, pages),
            }
        }
    }

    #[test]
    fn every_page_size_finds_the_same_from_both_ends() {
        let rows = trail(60, 3);
        let (ten, twenty) = (Some(Timestamp(10_000)), Some(Timestamp(20_000)));
        let filters: Vec<(Wanted, IsWanted)> = vec![
            (Wanted::default(), |_| true),
            (Wanted { action: Some(Pattern::parse("role.*")), ..Wanted::default() }, |n| n % 5 == 0),
            (Wanted { action: Some(Pattern::parse("role.")), ..Wanted::default() }, |_| false),
            (Wanted { action: Some(Pattern::parse("user.create")), ..Wanted::default() }, |n| n % 5 != 0),
            (Wanted { target: Some(Pattern::parse("thing/1*")), ..Wanted::default() }, |n| {
                n == 1 || n / 10 == 1
            }),
            (Wanted { success: Some(false), ..Wanted::default() }, |n| n % 7 == 0),
            (Wanted { by: Some(By::Anonymous), ..Wanted::default() }, |n| n % 4 == 0),
            (Wanted { by: Some(By::KeyHolder), ..Wanted::default() }, |n| n % 4 == 3),
            (Wanted { by: Some(By::System), ..Wanted::default() }, |_| false),
            (Wanted { by: Some(By::Principals(vec![user(2)])), ..Wanted::default() }, |n| n % 4 == 2),
            (Wanted { by: Some(By::Principals(Vec::new())), ..Wanted::default() }, |_| false),
            (Wanted { since: ten, until: twenty, ..Wanted::default() }, |n| (28..=57).contains(&n)),
            (Wanted { since: twenty, until: ten, ..Wanted::default() }, |_| false),
            (Wanted { since: Some(Timestamp(20_001)), ..Wanted::default() }, |_| false),
            (Wanted { until: Some(Timestamp(1_000)), ..Wanted::default() }, |_| false),
            (Wanted { until: Some(Timestamp(1_001)), ..Wanted::default() }, |n| n <= 3),
        ];
        for (wanted, is_wanted) in filters {
            let mut expected: Vec<u64> = (1..=60).filter(|n| is_wanted(*n)).collect();
            for order in [Order::OldestFirst, Order::NewestFirst] {
                for limit in [1, 2, 3, 7, 60, 200] {
                    assert_eq!(all(&rows, &wanted, order, limit).0, expected, "{wanted:?} {order:?} {limit}");
                }
                expected.reverse();
            }
        }
    }

    #[test]
    fn a_page_looks_at_so_many_and_the_next_goes_on() {
        let records = 2 * MAX_LOOKED_AT + 1;
        let rows = trail(records, 200);
        let last = Wanted { target: Some(Pattern::parse(&format!("thing/{records}"))), ..Wanted::default() };
        assert_eq!(all(&rows, &last, Order::OldestFirst, 10), (vec![records], 3));
        assert_eq!(all(&rows, &last, Order::NewestFirst, 10), (vec![records], 3));
        let none = Wanted { success: Some(true), action: Some(Pattern::parse("x")), ..Wanted::default() };
        assert_eq!(all(&rows, &none, Order::NewestFirst, 10), (Vec::new(), 3));
    }

    #[test]
    fn a_hole_is_damage_and_no_trail_is_empty() {
        let mut rows = trail(9, 3);
        let wanted = Wanted::default();
        let at = (Order::OldestFirst, None);
        assert_eq!(page(&rows, ACCOUNT, Trail::Acts, &wanted, at, 5), Ok(Found::default()));
        for after in [9, 10, u64::MAX] {
            let beyond = (Order::OldestFirst, Some(after));
            assert_eq!(page(&rows, ACCOUNT, Trail::Checks, &wanted, beyond, 5), Ok(Found::default()));
        }
        for before in [0, 1] {
            let beyond = (Order::NewestFirst, Some(before));
            assert_eq!(page(&rows, ACCOUNT, Trail::Checks, &wanted, beyond, 5), Ok(Found::default()));
        }
        let key = rows.rows.keys().filter(|key| key.get(13) == Some(&0x71)).nth(4).unwrap().clone();
        rows.rows.remove(&key);
        assert_eq!(page(&rows, ACCOUNT, Trail::Checks, &wanted, at, 9), Err(Rejection::Damaged));
    }
}
