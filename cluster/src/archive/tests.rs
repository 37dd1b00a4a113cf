//! The format as bytes, and what damage to it is found.

use std::io::{self, Write};

use uuid::Uuid;

use super::*;
use crate::clock::LogTime;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::machine::{Proposal, RequestId};
use crate::state::{Limits, LogPosition, State, View};
use crate::testing::keys::TestKeys;
use crate::testing::machine::Names;

fn view(rows: usize) -> View {
    let mut state = State::empty(Limits::default());
    for number in 0..rows {
        let command = format!("put group{}-{number} {}", number % 3, "value ".repeat(40).replace(' ', "_"));
        let number = number as u64;
        let mut request = [0; 16];
        request[..8].copy_from_slice(&number.to_le_bytes());
        let proposal = Proposal { request: RequestId(request), fingerprint: number, command: command.into() };
        let position = LogPosition { term: 1, node: 1, index: number };
        state.apply_entry(&Names, position, LogTime(1_000 + number), &[proposal]);
    }
    state.view()
}

fn origin() -> Origin {
    let cluster = ClusterId(Uuid::from_u128(7));
    let identity = Identity { cluster, node: NodeId(2) };
    Origin { identity, program: "1.2.3".to_owned(), created: LogTime(5_000) }
}

fn backup(view: &View, part: Option<&Part>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(view, part, &origin(), &TestKeys::new(&[1]), &mut bytes).unwrap();
    bytes
}

fn check(bytes: &[u8]) -> Result<Contents, ArchiveError> {
    verify(bytes, &TestKeys::new(&[1]), &mut |_, _| {})
}

#[test]
fn what_was_written_is_read_with_its_revisions() {
    let view = view(1_000);
    let bytes = backup(&view, None);
    let mut archive = Archive::open(&bytes[..], &TestKeys::new(&[1])).unwrap();
    assert_eq!(archive.header().revision, 1_000);
    let mut rows = Vec::new();
    while let Some(row) = archive.next_row().unwrap() {
        rows.push(row);
    }
    assert!(rows.iter().cloned().eq(view.scan(b"", None)));
    assert!(archive.next_row().unwrap().is_none());
    let contents = check(&bytes).unwrap();
    assert_eq!(
        (contents.rows, contents.header.at, contents.header.digest),
        (1_000, LogTime(1_999), view.digest())
    );
    let small = bytes.windows(6).any(|window| window == b"value_" || window == b"group1");
    assert!(!small, "rows can be read");
}

#[test]
fn a_part_has_the_rows_of_its_group_alone() {
    let view = view(100);
    let part = Part { name: "group1".to_owned(), prefix: b"group1-".to_vec() };
    let bytes = backup(&view, Some(&part));
    let contents = check(&bytes).unwrap();
    assert_eq!((contents.rows, contents.header.part.as_deref()), (33, Some("group1")));
    assert_eq!(contents.digest, view.group_digest(b"group1"));
}

#[test]
fn an_empty_state_is_a_backup_too() {
    assert_eq!(check(&backup(&view(0), None)).unwrap().rows, 0);
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let good = backup(&view(1_000), None);
    assert!(good.len() > 3 * 65_536, "a backup of several blocks");
    let header = 220;
    for bit in (0..header * 8).chain((header * 8..good.len() * 8).step_by(4_999)) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = check(&bad).unwrap_err();
        // The name of the wrapping key may be what was flipped.
        assert!(!matches!(error, ArchiveError::Io(_)), "bit {bit}: {error}");
    }
    let mut bad = good.clone();
    bad[3 * 65_536] ^= 1;
    assert!(check(&bad).unwrap_err().to_string().contains("block 3"), "{:?}", check(&bad));
}

#[test]
fn a_cut_or_lengthened_backup_is_found() {
    let good = backup(&view(1_000), None);
    let head = good.len() % 65_552;
    for length in (0..good.len()).step_by(3_001).chain(0..400).chain([head, head + 65_552, good.len() - 1]) {
        let error = check(&good[..length]).unwrap_err();
        assert!(!matches!(error, ArchiveError::Io(_)), "{length} bytes: {error}");
    }
    assert!(check(&[&good[..], b"x"].concat()).is_err());
}

#[test]
fn another_key_another_header_and_another_file_are_told_apart() {
    let good = backup(&view(10), None);
    let wrong = verify(&good[..], &TestKeys::new(&[2]), &mut |_, _| {}).unwrap_err();
    assert!(matches!(&wrong, ArchiveError::WrongKey { id } if id == "1"), "{wrong}");
    let (header, key) = read_header(&good[..], &TestKeys::new(&[2])).unwrap();
    assert_eq!((header.revision, key.as_deref()), (10, Some("1")));
    for foreign in [&b""[..], b"conc", b"#!/bin/sh\nexit 0\n", &[0; 4_096]] {
        assert!(matches!(check(foreign).unwrap_err(), ArchiveError::NotABackup));
    }
    // The key of one under the header of another, with a checksum that fits.
    let other = backup(&view(11), None);
    let (mine, theirs) = (beginning(&good), beginning(&other));
    let mut forged = encode(&theirs.header, &mine.wrapped);
    forged.extend_from_slice(&good[encode(&mine.header, &mine.wrapped).len()..]);
    assert!(matches!(check(&forged).unwrap_err(), ArchiveError::Damaged(_)));
    let mut newer = good;
    newer[8] = 9;
    assert!(matches!(check(&newer).unwrap_err(), ArchiveError::NewerFormat { found: 9, .. }));
}

fn beginning(bytes: &[u8]) -> format::Beginning {
    format::read_beginning(&mut &bytes[..]).unwrap()
}

fn encode(header: &Header, wrapped: &[u8]) -> Vec<u8> {
    format::encode_key(format::encode_header(header).unwrap(), wrapped).unwrap()
}

/// Backups outlive releases: this one must be read for ever. A change of what is written needs a new version.
#[test]
fn the_format_is_as_ever() {
    let header = Header {
        cluster: ClusterId(Uuid::from_u128(7)),
        node: NodeId(2),
        program: "1.2.3".to_owned(),
        revision: 300,
        at: LogTime(4),
        created: LogTime(5_000),
        digest: 9,
        part: Some("ab".to_owned()),
    };
    let bytes = encode(&header, b"wrapped");
    let hex = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!(hex, GOLDEN_BEGINNING);
    assert_eq!(beginning(&bytes).header, header);
    let old: Vec<u8> =
        GOLDEN.chunks(2).map(|hex| u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap()).collect();
    let contents = check(&old).unwrap();
    assert_eq!((contents.rows, contents.header.revision), (2, 2));
}

const GOLDEN_BEGINNING: &str = "636f6e636c62616b012200000010000000000000000000000000000000070205312e322e33ac02048827090102616207\
     00777261707065646373f38f";
const GOLDEN: &[u8] =
    b"636f6e636c62616b013100000010000000000000000000000000000000070205312e322e3302e9078827ffbabd90d285\
     9687e897c48c9daf85e1d0f3020025000111ac12aa2e9791bfba712c5f75b25601bb6ec1aebcbf7186fa9c39f7df4c49\
     5a666a72753aad04c9636f6e636c736c313dd2900881c5beb006f30ec6bc0f847176a0d456c2a11e408102f36eac5bba\
     ebf15475bde3ba0ca3285d8f3e3b3a11017a922dcf1c0cc49801aafe67c6fe5b9d8a02bc8176ce206ca9281df3e8dc2a\
     c54aa16143c3da0b9f52bc3b28f7c6cd4c50e38af27de4adb511688a0d5a9157c5aa533c431112605468048a47838b0a\
     42dee4fd8d68a42ac5c28ef3d0b1c97fb9ed6456c8c3bbd4281eabd2faed3f6a8bad235b1b9a67924fed14b076d94db3\
     f497bff58856368f34e24e823e639fdec2039bfd956be0e864fda8b731f2f61cbb05630b5a6a1a8b09875f88dac45870\
     73a7c183b01d6b56c4fc1eba74e7dbb01939b31b0b9198a1dd8f6e1ba6f0c50a7758d42fbd1f8da876375d2655dd4852\
     6e70065df4b41615bdf6f0913e90184bab363dd96ec3283ab87bfe7aaaf9b9f33e2efe155253c0ead6fa5d4d0e4700f1\
     3734252119115a09343b433cf8cff42d6484e24ec05ecac5e04e2fda44b4c1a1cd7c37ffde1260a9b1d2cf87f199de7e\
     19864bd82b5c64441a20477c7e82b916bb4c1dce183768b4713641b6f4c5fa645944da68b1c3d6bea62e8aa8faa24607\
     8b74f2b92e019f3da8c72278ebb9d09da40a6ca969e3a36bc4a34c43760f13dc201c3cd03d0c49f0911269d2f37057f1\
     6cd75680317f06c80a47b8a38c374801f532a02fe77a54feca551590d04bb2f7938c69232b6c5a613e1ba66abf3a7aa7\
     eb25040b6b3a5513bef56928beb7d9d4327bbef3d47263a0af828efa5149a8b92320280ed65cff63c82ee4b5ac0cfa16\
     5f1644edfb4937b35f04e69f1b5305174b664e9ad5fa27277f2861de9f768b8a4c7048752566f089de5fffbe";

/// Makes a new golden backup; run it only for a new version of the format.
#[test]
fn golden_is_printed_on_request() {
    if std::env::var_os("CONCLAVE_GOLDEN").is_some() {
        let hex =
            backup(&view(2), None).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        println!("{hex}");
    }
}

struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_an_error_and_not_a_short_backup() {
    let whole = backup(&view(1_000), None).len();
    for room in [0, 10, 300, 70_000, whole - 1] {
        let written = write(&view(1_000), None, &origin(), &TestKeys::new(&[1]), &mut Full(room));
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull, "{room}");
    }
    write(&view(1_000), None, &origin(), &TestKeys::new(&[1]), &mut Full(whole)).unwrap();
}
