//! Backups that a node saves by itself, and how many of them it keeps.
//!
//! # Why
//!
//! - **On each node that has the setting, whether it leads or not.** A backup that only the leader saves lands on
//!   another machine after each election. Whoever wants two copies sets it on two nodes.
//! - **What lies in the folder says when the last one was made**, so a restart neither forgets nor repeats one.
//! - **Old ones go after a new one was read back to its end.** A node that cannot save any more keeps what it has.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use conclave_cluster::LogTime;
use conclave_cluster::archive::{self, Header};
use tokio::time::{Duration, Instant, sleep};

use super::aside::{Aside, PART};
use super::{App, STEP};
use crate::app::KeyRing;
use crate::clock::rfc3339;
use crate::config::BackupSchedule;

/// Figures of the backups that a node saves by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupStats {
    /// When the newest one was made.
    pub last_success: Option<LogTime>,
    pub saved: u64,
    pub failed: u64,
}

/// The same, while they change.
#[derive(Debug, Default)]
pub(super) struct Stats(Mutex<BackupStats>);

impl Stats {
    pub(super) fn now(&self) -> BackupStats {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, how: impl FnOnce(&mut BackupStats)) {
        how(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl App {
    /// Saves backups by the schedule, for ever.
    pub async fn save_backups(&self, schedule: &BackupSchedule) {
        let newest =
            kept(&schedule.folder, &self.keyring).map(|kept| kept.first().map(|newest| newest.created));
        self.backups.stats.change(|stats| stats.last_success = newest.unwrap_or_default());
        loop {
            let stats = self.backups.stats.now();
            let due = stats.last_success.map_or(0, |last| last.0.saturating_add(millis(schedule.every)));
            let now = self.clock.now().0;
            if due > now {
                // Looked at again before long, because clocks are set.
                sleep(Duration::from_millis(due - now).min(LONGEST_SLEEP)).await;
                continue;
            }
            match self.save_backup(schedule).await {
                Ok((file, created)) => {
                    tracing::info!(file = %file.display(), "a backup is saved");
                    self.backups.stats.change(|stats| {
                        stats.last_success = Some(created);
                        stats.saved += 1;
                    });
                }
                Err(error) => {
                    tracing::error!(folder = %schedule.folder.display(), error, "no backup was saved");
                    self.backups.stats.change(|stats| stats.failed += 1);
                    sleep(schedule.every.min(AGAIN)).await;
                }
            }
        }
    }

    /// Figures of the backups that this node saves by itself.
    #[must_use]
    pub fn backup_stats(&self) -> BackupStats {
        self.backups.stats.now()
    }

    async fn save_backup(&self, schedule: &BackupSchedule) -> Result<(PathBuf, LogTime), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let outgoing = self.backup(None, Instant::now() + STEP).await.map_err(|error| text(&error))?;
        let (schedule, keys) = (schedule.clone(), std::sync::Arc::clone(&self.keyring));
        let (now, mut parts) = (self.clock.now(), outgoing.parts);
        let saving = move || {
            fs::create_dir_all(&schedule.folder)?;
            let file = schedule.folder.join(name(now, outgoing.revision));
            let mut aside = Aside::create(&file)?;
            while let Some(part) = parts.blocking_recv() {
                aside.write_all(&part?)?;
            }
            aside.sync()?;
            let contents = archive::verify(File::open(aside.path())?, &*keys, &mut |_, _| {});
            let contents = contents.map_err(io::Error::other)?;
            aside.keep()?;
            let all = kept(&schedule.folder, &keys)?;
            for old in all.into_iter().skip(schedule.keep) {
                fs::remove_file(old.path)?;
            }
            Ok((file, contents.header.created))
        };
        let saved: Result<io::Result<_>, _> = tokio::task::spawn_blocking(saving).await;
        saved.map_err(|error| text(&error))?.map_err(|error| text(&error))
    }
}

/// A backup that was saved by a schedule.
struct Kept {
    path: PathBuf,
    created: LogTime,
}

/// Those in the folder that a schedule saved, newest first. Others, whose names are their owners' own, are not ours
/// to count or to remove.
fn kept(folder: &Path, keys: &KeyRing) -> io::Result<Vec<Kept>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(FIRST) && name.ends_with(PART) {
            // Of a node that was killed; a process saves one at a time.
            drop(fs::remove_file(&path));
            continue;
        }
        if !(name.starts_with(FIRST) && name.ends_with(LAST)) {
            continue;
        }
        if let Ok((Header { created, part: None, .. }, _)) = archive::read_header(File::open(&path)?, keys) {
            found.push(Kept { path, created });
        }
    }
    found.sort_by(|a, b| (b.created, &b.path).cmp(&(a.created, &a.path)));
    Ok(found)
}

/// Sorted as text, names are sorted by age.
fn name(now: LogTime, revision: u64) -> String {
    let time: String = rfc3339(now).chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    format!("{FIRST}{time}-{revision}{LAST}")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

const FIRST: &str = "conclave-";
const LAST: &str = ".backup";
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// After a failure.
const AGAIN: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_age() {
        assert_eq!(name(LogTime(1_790_000_000_123), 7), "conclave-20260921T141320123Z-7.backup");
        assert!(name(LogTime(1_790_000_000_123), 9) < name(LogTime(1_790_000_001_123), 1));
    }
}
