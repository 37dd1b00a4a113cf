//! The simulation is worth something only if it finds the bugs it was made for.

use super::bug::Bug;
use super::simulation::run;

/// Puts a bug in, and runs seeds until one shows it; says which, and how.
fn find(bug: Bug, within: u64) -> String {
    let found = (1..=within).find_map(|seed| run(seed, bug).err().map(|reason| (seed, reason)));
    let (seed, reason) = found.unwrap_or_else(|| panic!("{bug:?} was not found within {within} seeds"));
    println!("{bug:?} was found by seed {seed}: {reason}");
    reason
}

#[test]
fn simulation_finds_a_log_that_acknowledges_before_the_sync() {
    find(Bug::LyingLog, WITHIN);
}

#[test]
fn simulation_finds_a_read_without_a_barrier() {
    let reason = find(Bug::ReadWithoutBarrier, WITHIN);
    assert!(reason.contains("acknowledged"), "{reason}");
}

#[test]
fn simulation_finds_a_reused_id() {
    let reason = find(Bug::ReusedId, WITHIN);
    assert!(!reason.contains("in peace"), "{reason}");
}

#[test]
fn simulation_finds_a_clock_in_apply() {
    let reason = find(Bug::ClockInApply, WITHIN);
    assert!(reason.contains("differs at revision"), "{reason}");
}

#[test]
fn simulation_finds_an_ignored_sync_error() {
    find(Bug::IgnoredSyncError, WITHIN);
}

#[test]
fn simulation_finds_a_last_applied_outside_the_batch() {
    find(Bug::AppliedOutsideBatch, WITHIN);
}

#[test]
fn simulation_finds_a_snapshot_without_some_rows() {
    find(Bug::SnapshotWithoutRows, WITHIN);
}

#[test]
fn simulation_finds_state_outside_the_rows() {
    let reason = find(Bug::StateOutsideRows, WITHIN);
    assert!(reason.contains("differs at revision"), "{reason}");
}

#[test]
fn simulation_finds_a_use_decided_outside_apply() {
    let reason = find(Bug::ConsumeOutsideApply, WITHIN);
    assert!(reason.contains("belongs to") || reason.contains("was acknowledged as"), "{reason}");
}

#[test]
fn simulation_finds_a_retry_without_its_key() {
    let reason = find(Bug::RetryWithoutKey, WITHIN);
    assert!(reason.contains("additions were acknowledged"), "{reason}");
}

/// Most are found by the first or second seed, all of them by far fewer than this.
const WITHIN: u64 = 200;
