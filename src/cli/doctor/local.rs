//! What can be seen on this machine: files, the disk, limits, dates. Changes nothing but a file of its own that it removes.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_cluster::pki::CertificateFacts;
use conclave_cluster::seal::Vault;
use conclave_cluster::{Clock, DataFolder, LogTime, SystemClock};

use super::{Check, Health};
use crate::app::KeyRing;
use crate::app::nodes::report::open_files;
use crate::auth::key_file::KeySource;
use crate::clock::rfc3339;
use crate::config::Config;
use crate::http::tls::Tls;

/// Looks at everything.
pub(super) async fn look(config: &Config) -> Vec<Check> {
    let config = config.clone();
    let looking = tokio::task::spawn_blocking(move || {
        let mut checks = vec![settings(&config), folder(&config.data)];
        if config.data.is_dir() {
            checks.extend([rights(&config.data), room(&config.data), sync(&config.data)]);
        }
        checks.push(keys(&config));
        checks.extend(certificates(&config));
        checks.push(files(open_files(), config.max_connections, "of this shell"));
        checks
    });
    looking.await.unwrap_or_else(|_| {
        vec![Check::is("this machine", Health::Fail, "looking panicked", "run it with RUST_BACKTRACE=1")]
    })
}

fn settings(config: &Config) -> Check {
    match config.notices.as_slice() {
        [] => Check::ok("settings", format!("loaded, data in {}", config.data.display())),
        notices => Check::is("settings", Health::Warn, notices.join(" "), "unset what has no effect"),
    }
}

/// Whose folder it is, and whether this program can use it.
fn folder(data: &Path) -> Check {
    const NAME: &str = "data folder";
    match DataFolder::owner(data) {
        Ok(Some(owner)) => Check::ok(NAME, format!("of node {} of cluster {}", owner.node, owner.cluster)),
        Ok(None) => {
            let figure = format!("{} belongs to no node yet", data.display());
            Check::is(
                NAME,
                Health::Unknown,
                figure,
                "`conclave start` or `conclave join TOKEN` makes it one's",
            )
        }
        Err(error) => {
            let remedy =
                "start the release that wrote it; or give another folder with --data, if this is not the one";
            Check::is(NAME, Health::Fail, error.to_string(), remedy)
        }
    }
}

fn rights(data: &Path) -> Check {
    const NAME: &str = "rights on it";
    let found = match fs::metadata(data) {
        Ok(found) => found,
        Err(error) => return Check::is(NAME, Health::Fail, error.to_string(), "run this as the node's user"),
    };
    let (owner, own, mode) = (found.uid(), rustix::process::geteuid().as_raw(), found.mode() & 0o777);
    let figure = format!("user {owner}, mode {mode:03o}");
    let path = data.display();
    if owner != own {
        let remedy = format!("run this as user {owner}, as the node does; this is user {own}");
        return Check::is(NAME, Health::Warn, figure, remedy);
    }
    let of_others = mode & 0o077;
    let health = if of_others == 0 { Health::Ok } else { Health::Warn };
    Check::is(NAME, health, figure, format!("chmod 700 {path}: nobody else has business there"))
}

fn room(data: &Path) -> Check {
    const NAME: &str = "disk room";
    match rustix::fs::statvfs(data) {
        Ok(found) => free(NAME, found.f_bavail.saturating_mul(found.f_frsize), "the disk of the data folder"),
        Err(error) => Check::is(NAME, Health::Fail, error.to_string(), "look at the disk's own messages"),
    }
}

/// How much room there is on a disk.
pub(super) fn free(name: &'static str, bytes: u64, whose: &str) -> Check {
    let health = match bytes {
        0..FAIL_FREE_BYTES => Health::Fail,
        FAIL_FREE_BYTES..WARN_FREE_BYTES => Health::Warn,
        WARN_FREE_BYTES.. => Health::Ok,
    };
    let figure = format!("{} MB free on {whose}", bytes / 1_000_000);
    Check::is(name, health, figure, "make room: a node whose disk is full stops, and loses nothing")
}

/// How fast the disk makes something safe, which every write waits for.
fn sync(data: &Path) -> Check {
    const NAME: &str = "disk sync";
    match measure(data) {
        Ok(times) => {
            let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
            judge_sync(NAME, at(50), times.last().copied().unwrap_or_default())
        }
        Err(error) => {
            let remedy = "run this as the node's user; a disk that cannot be written stops the node";
            Check::is(NAME, Health::Fail, error.to_string(), remedy)
        }
    }
}

/// By the median; one slow sync among many is noise.
fn judge_sync(name: &'static str, median: Duration, slowest: Duration) -> Check {
    let health = if median > FAIL_SYNC {
        Health::Fail
    } else if median > WARN_SYNC {
        Health::Warn
    } else {
        Health::Ok
    };
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let figure = format!("{:.1} ms in the middle, {:.1} ms at worst, of {SYNCS}", ms(median), ms(slowest));
    Check::is(
        name,
        health,
        figure,
        "put the data folder on a disk of its own, on flash: every write waits for it",
    )
}

/// The times of some syncs of a small write, in order of size.
fn measure(data: &Path) -> std::io::Result<Vec<Duration>> {
    let path = data.join(format!(".doctor-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let _gone = Remove(path);
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        times.push(write_one(&file)?);
    }
    times.sort_unstable();
    Ok(times)
}

fn write_one(mut file: &File) -> std::io::Result<Duration> {
    file.write_all(&[7; 4096])?;
    let begun = Instant::now();
    file.sync_data()?;
    Ok(begun.elapsed())
}

/// Removes a file whatever happens.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the keys can be read, and open what lies in the folder.
fn keys(config: &Config) -> Check {
    const NAME: &str = "keys";
    let source = KeySource::of(config);
    let fail = |figure: String, remedy: &str| Check::is(NAME, Health::Fail, figure, remedy);
    let place = match &source {
        KeySource::File(path) => path.display().to_string(),
        KeySource::Setting(_) => "the setting encryption_key".to_owned(),
    };
    let owner = DataFolder::owner(&config.data).ok().flatten();
    let (Some(owner), Ok(true)) = (owner, Vault::holds_anything(&config.data)) else {
        return match source.missing() {
            Ok(Some(path)) => {
                let figure = format!("{} is not there, and nothing is sealed with it yet", path.display());
                Check::is(NAME, Health::Unknown, figure, "the first start makes it")
            }
            Ok(None) | Err(_) => match source.read() {
                Ok(_) => Check::ok(NAME, format!("{place} can be read, and nothing is sealed with it yet")),
                Err(error) => fail(error.to_string(), "see docs/operate/key-rotation.md"),
            },
        };
    };
    let ring = match KeyRing::open(source, &config.data, false) {
        Ok(ring) => ring,
        Err(error) => return fail(error.to_string(), "put back the key file that the node was started with"),
    };
    let vault = Vault::new(&config.data, owner, Arc::new(ring));
    match vault.check().and_then(|()| vault.status()) {
        Ok(keys) => Check::ok(NAME, format!("{place} opens all {} data keys", keys.len())),
        Err(error) => fail(error.to_string(), "put back the key file that the node was started with"),
    }
}

/// Those whose files lie on this machine: the HTTP port's, and the node's as of its last start.
fn certificates(config: &Config) -> Vec<Check> {
    let now = SystemClock.now();
    let mut checks = Vec::new();
    for (name, file) in [("node certificate", "node.pem"), ("nodes' authority", "ca.pem")] {
        let read = fs::read_to_string(config.data.join(file)).ok();
        if let Some(facts) = read.and_then(|pem| CertificateFacts::of_pem(&pem).ok()) {
            checks.push(expiry(name, facts.not_after, now, "`conclave certs rotate`, while the node runs"));
        }
    }
    if let Some(files) = &config.tls {
        const NAME: &str = "HTTP certificate";
        let opened = Tls::open(&files.certificate, &files.key).map_err(|error| error.to_string());
        let facts = opened
            .and_then(|tls| CertificateFacts::of_pem(&tls.certificates()).map_err(|error| error.to_string()));
        checks.push(match facts {
            Ok(facts) => {
                expiry(NAME, facts.not_after, now, "put another into the files; no restart is needed")
            }
            Err(error) => {
                Check::is(NAME, Health::Fail, error, "put a certificate and its key into the files")
            }
        });
    }
    checks
}

/// How long a certificate is good.
pub(super) fn expiry(name: &'static str, until: LogTime, now: LogTime, remedy: &str) -> Check {
    let left_days = until.0.saturating_sub(now.0) / DAY_MS;
    let health = match left_days {
        0 if until <= now => Health::Fail,
        0..WARN_DAYS => Health::Warn,
        WARN_DAYS.. => Health::Ok,
    };
    Check::is(name, health, format!("{left_days} days left, until {}", rfc3339(until)), remedy)
}

/// How many files and connections a process may have open.
pub(super) fn files(limit: Option<u64>, max_connections: usize, whose: &str) -> Check {
    const NAME: &str = "open files";
    let Some(limit) = limit else { return Check::ok(NAME, format!("no limit {whose}")) };
    let needs = u64::try_from(max_connections).unwrap_or(u64::MAX).saturating_add(OWN_FILES);
    let health = if limit >= needs { Health::Ok } else { Health::Warn };
    let remedy = format!(
        "allow {needs} (`ulimit -n`, LimitNOFILE= of systemd), or set max_connections to {} at most",
        limit.saturating_sub(OWN_FILES)
    );
    Check::is(NAME, health, format!("{limit} {whose}, {needs} needed"), remedy)
}

const WARN_FREE_BYTES: u64 = 2_000_000_000;
const FAIL_FREE_BYTES: u64 = 200_000_000;
const SYNCS: usize = 20;
const WARN_SYNC: Duration = Duration::from_millis(10);
const FAIL_SYNC: Duration = Duration::from_millis(100);
const DAY_MS: u64 = 24 * 3600 * 1000;
const WARN_DAYS: u64 = 14;
/// For the log, the state, peers and all else, besides HTTP connections.
const OWN_FILES: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_where_they_are_said_to_be() {
        for (ms, health) in [(1, Health::Ok), (10, Health::Ok), (11, Health::Warn), (101, Health::Fail)] {
            let check = judge_sync("disk sync", Duration::from_millis(ms), Duration::from_secs(9));
            assert_eq!((check.health, check.remedy.is_some()), (health, health != Health::Ok), "{ms}");
        }
        for (bytes, health) in
            [(2_000_000_000, Health::Ok), (1_999_999_999, Health::Warn), (199_999_999, Health::Fail)]
        {
            assert_eq!(free("disk room", bytes, "it").health, health);
        }
        let now = LogTime(1_000_000_000_000);
        for (ms, health) in
            [(15 * DAY_MS, Health::Ok), (13 * DAY_MS, Health::Warn), (5, Health::Warn), (0, Health::Fail)]
        {
            assert_eq!(expiry("certificate", LogTime(now.0 + ms), now, "renew").health, health);
        }
        assert_eq!(files(Some(1024), 768, "here").health, Health::Ok);
        assert_eq!(files(Some(1024), 4096, "here").health, Health::Warn);
        assert_eq!(files(None, 4096, "here").health, Health::Ok);
    }

    #[test]
    fn the_disk_is_measured_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(measure(folder.path()).unwrap().len(), SYNCS);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
