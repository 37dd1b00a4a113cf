//! Every decoder and parser, over its seeds and some thousands of mutations of them.
//!
//! The targets are in `conclave_cluster::fuzzing` and `conclave::fuzzing`; their seeds in `tests/fuzz/seeds`, one a
//! line. `scripts/fuzz.sh` runs the same guided by coverage, for hours if wanted; what it finds becomes a seed.
//! `FUZZ_SEED=<number>` runs the mutations of another seed, `FUZZ_TIMES=<number>` so many times as many,
//! `FUZZ_TARGET=<name>` one target only. An input at which the process dies (a stack that is used up) is the content
//! of `target/tmp/fuzzed.last`.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use conclave::fuzzing::Target;

/// Mutations of each target.
const MUTATIONS: u64 = 1_500;
/// A target that is slow has as many as it gets done in this time, and some at least.
const LONGEST: Duration = Duration::from_millis(700);
const FEWEST: u64 = 20;

/// What no input is longer than: an HTTP body and a bit.
const MOST_BYTES: usize = 70_000;

/// Frames of a build without optimisation are several times as large as those of a thread of the program.
const STACK_BYTES: usize = 16 << 20;

#[test]
fn nothing_that_can_be_read_is_a_surprise() {
    let run = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run_all).unwrap();
    if let Err(panicked) = run.join() {
        std::panic::resume_unwind(panicked);
    }
}

fn run_all() {
    let only = env::var("FUZZ_TARGET").ok();
    let seed = number("FUZZ_SEED").unwrap_or(1);
    let times = number("FUZZ_TIMES").unwrap_or(1);
    let mut wrong = Vec::new();
    for (name, target) in targets().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let seeds = seeds(name);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ digest(name));
        let fault = seeds.iter().find_map(|bytes| fault(target, bytes)).or_else(|| {
            let begun = Instant::now();
            let is_on = |done: u64| {
                done < FEWEST * times || begun.elapsed() < LONGEST * u32::try_from(times).unwrap()
            };
            (0..MUTATIONS * times).take_while(|done| is_on(*done)).find_map(|_| {
                let bytes = mutated(&seeds, &mut random);
                fault(target, &bytes)
            })
        });
        wrong.extend(fault.map(|fault| format!("{name}, FUZZ_SEED={seed}: {fault}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_target_has_seeds_and_all_seeds_have_a_target() {
    let names: BTreeSet<&str> = targets().map(|(name, _)| name).collect();
    assert_eq!(names.len(), targets().count(), "two targets of one name");
    let mut bytes = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(names.contains(name.as_str()), "no target of the name {name}");
        bytes += fs::metadata(&path).unwrap().len();
    }
    for name in names {
        assert!(seeds(name).len() > 1, "{name} has no seeds");
    }
    assert!(bytes < 300_000, "{bytes} bytes of seeds: keep the shortest");
}

/// The mutations see what they are there for.
#[test]
fn a_surprise_is_seen() {
    let target: fn(&[u8]) = |data| assert!(!data.starts_with(b"magicX"), "found");
    let mut random = Random(1);
    let seeds = [b"magic!".to_vec(), b"X".to_vec()];
    let is_found = (0..20_000).any(|_| fault(target, &mutated(&seeds, &mut random)).is_some());
    assert!(is_found);
    for text in [&b"a\\\n\x00\xff b"[..], b"", b"\\x41"] {
        assert_eq!(unescaped(&escaped(text)), text);
    }
}

fn targets() -> impl Iterator<Item = Target> {
    conclave_cluster::fuzzing::TARGETS.into_iter().chain(conclave::fuzzing::TARGETS)
}

/// What the target says to these bytes, if it does not like them.
fn fault(target: fn(&[u8]), bytes: &[u8]) -> Option<String> {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzzed.last"), escaped(bytes)).unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| target(bytes))).err()?;
    let said = panicked.downcast_ref::<String>().cloned();
    let said = said.or_else(|| panicked.downcast_ref::<&str>().map(|said| (*said).to_owned()));
    Some(format!("{}\n    by {}", said.unwrap_or_default(), escaped(bytes)))
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds")
}

/// One a line; what is not printable is `\xNN`. A line that begins with `#` is a remark.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(unescaped).chain([Vec::new()]).collect()
}

fn unescaped(line: &str) -> Vec<u8> {
    let mut parts = line.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

fn escaped(bytes: &[u8]) -> String {
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'\\';
    let hash_first = bytes.first() == Some(&b'#');
    let one = |(at, byte): (usize, &u8)| {
        let is_plain = is_plain(*byte) && !(at == 0 && hash_first);
        if is_plain { char::from(*byte).to_string() } else { format!("\\x{byte:02x}") }
    };
    bytes.iter().enumerate().map(one).collect()
}

/// One to six changes to one of the seeds, each of a kind that decoders trip over.
fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(9) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.byte(),
            2 => bytes.insert(at, random.byte()),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + random.below(8)).min(bytes.len()))),
            // A part of it again, or a part of another.
            5 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                let to = (from + random.below(40)).min(other.len());
                let part = other[from..to].to_vec();
                bytes.splice(at..at, part);
            }
            // Numbers at which something ends.
            6 => {
                let edges: [&[u8]; 8] = [
                    &[0; 4],
                    &[0xff; 4],
                    &[0x7f, 0xff],
                    &[0xff; 10],
                    b"0",
                    b"-1",
                    b"18446744073709551616",
                    b"1e999",
                ];
                bytes.splice(at..at, edges[random.below(edges.len())].iter().copied());
            }
            // Text that is more than it looks like.
            7 => {
                let texts = [
                    "\u{130}", "\u{e9}", "%00", "%2f", "../", "\"", "\\u0000", "[[[[", "\r\n", "\u{202e}",
                    "*",
                ];
                bytes.splice(at..at, texts[random.below(texts.len())].bytes());
            }
            _ => {
                let count = 1 << random.below(12);
                let byte = bytes.get(at).copied().unwrap_or(b'a');
                bytes.splice(at..at, std::iter::repeat_n(byte, count));
            }
        }
    }
    bytes.truncate(MOST_BYTES);
    bytes
}

fn digest(name: &str) -> u64 {
    name.bytes().fold(7, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// xorshift64*: the same numbers from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = if self.0 == 0 { 1 } else { self.0 };
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.next() >> 56).unwrap_or_default()
    }
}
