//! Saving a backup: beside the file first, checked, and then in its place.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use tokio::time::{Duration, Instant};

use super::{Report, in_path, off_runtime, transfer, writing};
use crate::app::KeyRing;
use crate::app::backups::aside::Aside;
use crate::auth::key_file::KeySource;
use crate::cli::Failure;
use crate::config::Config;

pub(super) async fn run(config: &Config, file: &Path, account: Option<&str>) -> Result<Report, Failure> {
    let query = account.map(in_path).transpose()?.map(|id| format!("?account={id}")).unwrap_or_default();
    let response = transfer::get(config, &format!("/v1/cluster/backup{query}")).await?;
    let mut aside = Aside::create(file).map_err(|error| writing(file, &error))?;
    let mut body = response.into_body();
    let mut progress = Progress::default();
    while let Some(part) = transfer::next_part(&mut body).await.map_err(|error| {
        format!(
            "the node broke off: {error}. Nothing is left of {}, an earlier one is as it was",
            file.display()
        )
    })? {
        aside.write_all(&part).map_err(|error| writing(file, &error))?;
        progress.tell(part.len());
    }
    progress.end();
    let keys = KeyRing::given(KeySource::of(config))?;
    let file = file.to_owned();
    off_runtime(move || {
        // A reply that was cut looks like one that ended: only the backup itself knows.
        aside.sync().map_err(|error| writing(&file, &error))?;
        let report = Report::of(aside.path(), &keys)?;
        aside.keep().map_err(|error| writing(&file, &error))?;
        Ok(Report { file, ..report })
    })
    .await
}

/// Says on a terminal how far it is.
struct Progress {
    bytes: u64,
    told: Option<Instant>,
    is_shown: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self { bytes: 0, told: None, is_shown: io::stderr().is_terminal() }
    }
}

impl Progress {
    fn tell(&mut self, more: usize) {
        self.bytes += more as u64;
        let is_due = self.told.is_none_or(|told| told.elapsed() >= Duration::from_millis(500));
        if self.is_shown && is_due {
            eprint!("\r{} MiB", self.bytes / (1 << 20));
            self.told = Some(Instant::now());
        }
    }

    fn end(&self) {
        if self.told.is_some() {
            eprintln!("\r{} MiB; checking", self.bytes / (1 << 20));
        }
    }
}
