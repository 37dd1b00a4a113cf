//! The bytes of a state, as the first release wrote them: what disks and other nodes hold. Where one of these must
//! change, the version in front of it rises, and the old one is read on.

use super::super::history::Past;
use super::super::meta::Meta;
use super::super::record::Record;
use super::super::requests::Remembered;
use super::super::row::Row;
use super::super::snapshot;
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[test]
fn records_and_their_hashes_are_what_they_were() {
    let row = Row { revision: 300, value: b"value".as_slice().into() };
    let past = Past { ended_at: LogTime(9), row: row.clone() };
    let remembered =
        Remembered { fingerprint: 7, revision: 300, at: LogTime(9), reply: Bytes::from_static(b"ok") };
    let golden = [
        (
            Record::row(&b"key"[..].into(), &row),
            "1 6b6579 2c0100000000000076616c7565",
            "0a088e67a452d0ca50010a0134d0eed7",
        ),
        (
            Record::past(b"key", 301, &past),
            "2 000000000000012d6b6579 09000000000000002c0100000000000076616c7565",
            "52c41cb0edaeff6ae403d6c0a93b57d1",
        ),
        (
            Record::request(RequestId([5; 16]), &remembered),
            "3 05050505050505050505050505050505 07000000000000002c0100000000000009000000000000006f6b",
            "263141ff263729ee2b43fceea8880d9a",
        ),
    ];
    for (record, bytes, hash) in golden {
        let written = format!("{} {} {}", record.space.number(), hex(&record.key), hex(&record.value));
        assert_eq!(written, bytes);
        assert_eq!(format!("{:032x}", record.hash()), hash, "{bytes}");
    }
}

#[test]
fn what_is_known_beside_the_rows_is_written_as_ever() {
    let meta = Meta {
        applied: Some(LogPosition { term: 3, node: 1, index: 300 }),
        membership: Bytes::from_static(b"members"),
        revision: 9,
        at: LogTime(12),
        oldest: 2,
        digest: 77,
        lost: false,
    };
    let bytes = "01010301ac02076d656d62657273090c024d00db61a8b1e2b0da8a356a8a5fafff8113";
    assert_eq!(hex(&meta.encode().unwrap()), bytes);
}

#[test]
fn a_snapshot_is_written_as_ever() {
    let mut state = State::empty(Limits::default());
    state.apply_membership(at_index(0), b"members");
    state.apply_entry(&Toy, at_index(1), LogTime(9), &[put(1, "a", b"one"), put(2, "b", b"two")]);
    state.apply_entry(&Toy, at_index(2), LogTime(10), &[put(3, "a", b"three")]);
    let mut bytes = Vec::new();
    snapshot::write(&state, &mut bytes).unwrap();
    let golden = concat!(
        "636f6e636c61766501000000340000000101010102076d656d62657273030a0084c5e3be94f2c092eeefbb90",
        "baadc9a88ff9010023380fe0b12b5e66dea5136542b9793cb47a66c5f6000000a1b163e101010000000d0000",
        "00610300000000000000746872656501010000000b00000062020000000000000074776f0209000000130000",
        "000000000000000003610a0000000000000001000000000000006f6e6503100000001e000000000000000000",
        "0000000000000000000107000000000000000100000000000000090000000000000031207472756503100000",
        "001e000000000000000000000000000000000000020700000000000000020000000000000009000000000000",
        "0032207472756503100000001e00000000000000000000000000000000000003070000000000000003000000",
        "000000000a00000000000000332074727565000000009b03d26701000000000000000600000000000000",
    );
    assert_eq!(hex(&bytes), golden);
    let read = snapshot::read(&bytes[..], &Toy, Limits::default()).unwrap();
    assert_eq!(read.digest(), state.digest());
}
