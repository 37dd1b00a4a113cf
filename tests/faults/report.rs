//! What came of all runs, as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::check::Kind;
use crate::site::Outcome;

/// All runs of one fault.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) outcomes: Vec<Outcome>,
    /// What went wrong besides: a run that came to no end.
    pub(crate) failures: Vec<String>,
    /// Runs whose load was too small to count.
    pub(crate) idle: usize,
}

impl Row {
    pub(crate) fn is_good(&self) -> bool {
        let is_good = |outcome: &Outcome| outcome.violations.is_empty();
        self.failures.is_empty() && self.idle == 0 && self.outcomes.iter().all(is_good)
    }
}

const HEAD: [&str; 16] = [
    "fault", "runs", "faults", "ops", "acked", "ops/s", "lost", "stale", "twice", "granted", "late",
    "p50 ms", "p99 ms", "max ms", "terms", "equal",
];

pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    line(&mut text, &HEAD.map(str::to_owned));
    for row in rows {
        let sum = |of: fn(&Outcome) -> usize| row.outcomes.iter().map(of).sum::<usize>().to_string();
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for violation in row.outcomes.iter().flat_map(|outcome| &outcome.violations) {
            *kinds.entry(violation.kind).or_default() += 1;
        }
        let count = |of: &[Kind]| of.iter().filter_map(|kind| kinds.get(kind)).sum::<usize>().to_string();
        let mut gaps: Vec<u64> = row.outcomes.iter().flat_map(|outcome| outcome.gaps.clone()).collect();
        gaps.sort_unstable();
        let rate = row.outcomes.iter().map(|outcome| outcome.rate).min().unwrap_or_default();
        let terms: u64 = row.outcomes.iter().map(|outcome| outcome.terms).sum();
        let at = |percent: usize| percentile(&gaps, percent);
        line(
            &mut text,
            &[
                row.name.to_owned(),
                (row.outcomes.len() + row.failures.len()).to_string(),
                gaps.len().to_string(),
                sum(|outcome| outcome.operations),
                sum(|outcome| outcome.acknowledged),
                rate.to_string(),
                count(&[Kind::Lost, Kind::Phantom]),
                count(&[Kind::Stale]),
                count(&[Kind::Twice]),
                count(&[Kind::Granted]),
                count(&[Kind::Late]),
                at(50),
                at(99),
                at(100),
                terms.to_string(),
                // A run whose nodes differ at the end comes to no end.
                if row.failures.is_empty() { "yes" } else { "no" }.to_owned(),
            ],
        );
        for failure in &row.failures {
            let _ = writeln!(text, "  FAILED: {failure}");
        }
        if row.idle > 0 {
            let _ = writeln!(text, "  VOID: {} runs with too small a load", row.idle);
        }
    }
    text
}

/// The value below or at which so many of a hundred are, in milliseconds.
fn percentile(sorted: &[u64], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).map_or_else(|| "-".to_owned(), |micros| (micros / 1000).to_string())
}

fn line(text: &mut String, cells: &[String]) {
    for (cell, head) in cells.iter().zip(HEAD) {
        let width = head.len().max(7);
        let _ = if head == "fault" { write!(text, "{cell:<18}") } else { write!(text, "{cell:>width$} ") };
    }
    text.push('\n');
}
