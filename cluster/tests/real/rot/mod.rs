//! Nodes whose files have rotted: damage to any file of a stopped node is refused, healed or harmless, and never
//! served.
//!
//! Each try is a process of its own (see `child`), so that one that ends or hangs is seen. `CONCLAVE_TEST_ROT=400`
//! tries so many instead of a few, and `CONCLAVE_TEST_ROT_FIRST` says where the seeds begin.

mod child;
mod damage;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use damage::Damage;

/// What a process said, and how it ended.
struct Ended {
    said: Vec<String>,
    errors: String,
    is_ok: bool,
    /// Ended by a signal that it gave itself: sled does so on some damage.
    is_abort: bool,
}

fn run(role: &str, folder: &Path, seed: u64) -> Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "rot::child::child", "--nocapture", "--test-threads=1"]);
    command.env(child::ROLE, role).env(child::FOLDER, folder).env(child::SEED, seed.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let (mut out, mut err) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
    let reading = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).unwrap();
        text
    });
    let (said_all, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        drop(said_all.send(text));
    });
    // Its output ends with the process.
    let Ok(text) = heard.recv_timeout(LONGEST) else {
        process.kill().unwrap();
        process.wait().unwrap();
        panic!("{role}, seed {seed}: hangs\n{}{}", heard.recv().unwrap(), reading.join().unwrap());
    };
    let status = process.wait().unwrap();
    let said = text.lines().filter_map(|line| line.strip_prefix(child::MARK)).map(str::to_owned).collect();
    Ended {
        said,
        errors: reading.join().unwrap(),
        is_ok: status.success(),
        is_abort: status.signal() == Some(6),
    }
}

/// The folder of a node alone, and its digest at each revision.
struct Image {
    root: TempDir,
    digests: BTreeMap<u64, u128>,
}

impl Image {
    fn make(role: &str) -> Self {
        let root = TempDir::new().unwrap();
        let ended = run(role, &root.path().join("node"), 0);
        assert_eq!(ended.said.last().map(String::as_str), Some("filled"), "{}", ended.errors);
        let digests = ended.said.iter().filter_map(|line| revision_and_digest(line, "was ")).collect();
        Self { root, digests }
    }

    /// The same without its durable copy: what the newest snapshot does not have comes from the log alone.
    fn without_copy(self) -> Self {
        damage::remove_copies(&self.root.path().join("node"));
        self
    }

    fn last(&self) -> (u64, u128) {
        self.digests.last_key_value().map(|(revision, digest)| (*revision, *digest)).unwrap()
    }

    /// What becomes of the node when `seed` chooses the damage.
    fn try_one(&self, seed: u64) -> (Damage, &'static str) {
        let copy = self.root.path().join(format!("try-{seed}"));
        damage::copy_folder(&self.root.path().join("node"), &copy);
        let damage = damage::inflict(&copy, seed);
        let mut aborts = 0;
        let ended = loop {
            let ended = run("open", &copy, seed);
            if !ended.is_abort || aborts > MOST_ABORTS {
                break ended;
            }
            aborts += 1;
        };
        let context = || format!("seed {seed}: {damage:?}: {:?}\n{}", ended.said, ended.errors);
        assert!(ended.is_ok, "{}", context());
        // sled panics on some damage, where that is caught.
        let panics = ended.errors.lines().filter(|line| line.contains("panicked at"));
        assert!(panics.into_iter().all(|line| line.contains("'state-open'")), "{}", context());
        let said = ended.said.first().unwrap_or_else(|| panic!("{}", context()));
        let outcome = if let Some(why) = said.strip_prefix("refused ") {
            let is_clear =
                why.contains("has lost its log or state") || why.contains(&copy.display().to_string());
            assert!(is_clear, "it does not say which file or what to do: {}", context());
            // Who puts back a file that was refused has lost nothing by the refusal.
            std::fs::copy(self.root.path().join("node").join(&damage.file), copy.join(&damage.file)).unwrap();
            let again = run("open", &copy, seed);
            let served = again.said.first().and_then(|line| revision_and_digest(line, "served "));
            assert_eq!(served, Some(self.last()), "{}then: {:?}\n{}", context(), again.said, again.errors);
            "refused"
        } else {
            let served = revision_and_digest(said, "served ").unwrap_or_else(|| panic!("{}", context()));
            assert_eq!(ended.said.last().map(String::as_str), Some("goes on"), "{}", context());
            assert_eq!(self.digests.get(&served.0), Some(&served.1), "another state: {}", context());
            assert!(served == self.last() || damage.looks_torn(), "an older state: {}", context());
            let healed = damage::moved_aside(&copy);
            match (served == self.last(), aborts > 0, healed) {
                (false, ..) => "torn off",
                (true, true, _) => "healed after the process ended",
                (true, false, true) => "healed",
                (true, false, false) => "whole",
            }
        };
        std::fs::remove_dir_all(&copy).unwrap();
        (damage, outcome)
    }
}

fn revision_and_digest(line: &str, prefix: &str) -> Option<(u64, u128)> {
    let (revision, digest) = line.strip_prefix(prefix)?.split_once(' ')?;
    Some((revision.parse().ok()?, digest.parse().ok()?))
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn damage_to_a_node_alone_is_never_served() {
    let images = [
        Image::make("fill and stop"),
        Image::make("fill and die"),
        Image::make("fill and die").without_copy(),
    ];
    for image in &images {
        assert_eq!(image.digests.len(), usize::try_from(child::COMMANDS).unwrap());
    }
    let first = number("CONCLAVE_TEST_ROT_FIRST", 0);
    let (next, end) = (AtomicU64::new(first), first + number("CONCLAVE_TEST_ROT", FEW));
    let table = Mutex::new(BTreeMap::<(String, String, &str), u64>::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let image = usize::try_from(seed).unwrap() % images.len();
                    let (damage, outcome) = images[image].try_one(seed);
                    let file = damage.file.file_name().unwrap().to_string_lossy();
                    let file = file.rsplit('.').next().unwrap_or(&file).to_owned();
                    *table
                        .lock()
                        .unwrap()
                        .entry((file, format!("{:?}", damage.kind), outcome))
                        .or_default() += 1;
                }
            });
        }
    });
    let table = table.into_inner().unwrap();
    for ((file, kind, outcome), count) in &table {
        println!("{count:5} {file:10} {kind:8} {outcome}");
    }
    for outcome in ["refused", "healed", "whole"] {
        assert!(
            table.keys().any(|(.., seen)| *seen == outcome),
            "never {outcome}: the damage misses the data"
        );
    }
}

/// One flipped bit makes the folder another node's, whose keys open nothing of what lies there: all of it would look
/// damaged, and be moved aside or sealed anew.
#[test]
fn a_rotten_identity_is_refused_before_anything_is_touched() {
    let image = Image::make("fill and stop");
    let folder = image.root.path().join("node");
    let file = folder.join("identity.toml");
    let good = std::fs::read(&file).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    for (line, bit) in [("cluster = \"", 1), ("node = ", 2)] {
        let at = text.find(line).unwrap() + line.len();
        let mut bad = good.clone();
        bad[at] ^= bit;
        std::fs::write(&file, bad).unwrap();
        let before = damage::contents(&folder);
        let ended = run("open", &folder, 0);
        let refused = ended.said.first().is_some_and(|said| said.starts_with("refused "));
        assert!(refused, "{line}: {:?}\n{}", ended.said, ended.errors);
        assert!(damage::contents(&folder) == before, "{line}: something was changed: {:?}", ended.said);
    }
    std::fs::write(&file, good).unwrap();
    let ended = run("open", &folder, 0);
    let served = ended.said.first().and_then(|line| revision_and_digest(line, "served "));
    assert_eq!(served, Some(image.last()), "{}", ended.errors);
}

#[test]
fn damage_to_one_node_of_three_stays_with_it() {
    let first = number("CONCLAVE_TEST_ROT_FIRST", 0);
    for seed in first..first + number("CONCLAVE_TEST_ROT", FEW).div_ceil(FEW) {
        let ended = run("three", Path::new("."), seed);
        for line in &ended.said {
            println!("{line}");
        }
        assert!(ended.is_ok, "seed {seed}: {:?}\n{}", ended.said, ended.errors);
        assert_eq!(ended.said.last().map(String::as_str), Some("goes on"), "seed {seed}: {}", ended.errors);
    }
}

/// Of one process.
const LONGEST: Duration = Duration::from_mins(3);
/// A copy that ended the process so often is given up: see `state::folder`.
const MOST_ABORTS: u32 = 3;
const FEW: u64 = 40;
const AT_ONCE: usize = 6;
