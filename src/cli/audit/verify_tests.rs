//! A whole trail is found whole; one that was tampered with, anywhere, is not.

use serde_json::{Value, json};

use super::*;
use crate::domain::audit::{AuditHead, AuditRecord, Trail};
use crate::domain::{Actor, Origin, Principal, SecretHash, SessionId, Timestamp, UserId};

const ACCOUNT: &str = "123456789012";

fn account() -> AccountId {
    AccountId::parse(ACCOUNT).unwrap()
}

/// Records of which some were dropped already, with every member in use somewhere.
fn records(first: u64, count: u64) -> (AuditHead, Vec<AuditRecord>) {
    let chain = Chain { account: account(), trail: Trail::Acts };
    let anchor = if first == 1 { [0; 32] } else { [7; 32] };
    let mut previous = anchor;
    let mut records = Vec::new();
    for sequence in first..first + count {
        let uuid = uuid::Uuid::from_u128(sequence.into());
        let by = match sequence % 4 {
            0 => Actor::Anonymous,
            1 => {
                let principal = Principal::User(UserId::new(uuid));
                Actor::SignedIn { principal, session: SessionId::new(uuid) }
            }
            2 => Actor::System,
            _ => Actor::KeyHolder(SecretHash::new([9; 32])),
        };
        let mut record = AuditRecord {
            sequence,
            at: Timestamp(1_800_000_000_000 + sequence * 10),
            revision: 2 * sequence,
            by,
            origin: Origin { address: Some("10.0.0.1".to_owned()), agent: Some("curl".to_owned()) },
            action: "user.create".to_owned(),
            target: format!("user/{sequence}"),
            success: sequence % 2 == 0,
            detail: "a detail".to_owned(),
            count: 3,
            previous,
            hash: [0; 32],
        };
        record.hash = chain.hash_of(&record);
        previous = record.hash;
        records.push(record);
    }
    (AuditHead { sequence: first + count - 1, hash: previous, first, anchor }, records)
}

/// The lines of a file.
fn lines(first: u64, count: u64) -> Vec<Value> {
    let (head, records) = records(first, count);
    let chain = Chain { account: account(), trail: Trail::Acts };
    let head = HeadView::new(account(), crate::api::record::TrailName::Acts, &head);
    let first = json!(FirstLine { format: FORMAT.to_owned(), head });
    let records = records.into_iter().map(|record| json!(RecordView::whole(chain, record)));
    std::iter::once(first).chain(records).collect()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n"
}

fn verdict(lines: &[Value], witness: Option<&str>) -> Result<Whole, Broken> {
    let text = text(lines);
    check(text.as_bytes(), witness)
}

#[test]
fn a_whole_trail_is_told_of() {
    for (first, count) in [(1, 9), (40, 9)] {
        let lines = lines(first, count);
        let hash = lines[3]["hash"].as_str().unwrap();
        let whole = verdict(&lines, Some(&hash.to_uppercase())).unwrap();
        assert_eq!((whole.records, whole.witnessed), (count, Some(first + 2)));
        let told = whole.to_string();
        for part in ["acts of 123456789012: 9 records", "2027-01-15T08:00:00", "unbroken", "all before it"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(told.contains("kept no longer"), first > 1);
    }
    let empty = json!({"format": FORMAT, "head": {
        "account": ACCOUNT, "trail": "checks", "sequence": 0, "hash": ZEROS, "first": 0, "anchor": ZEROS}});
    let whole = verdict(&[empty], None).unwrap();
    assert!(whole.to_string().starts_with("checks of 123456789012: 0 records\nunbroken"), "{whole}");
}

/// Every value that is of the member's kind and another one.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => {
            let mut flipped = text.clone();
            let last = flipped.pop().unwrap();
            flipped.push(if last == 'a' { 'b' } else { 'a' });
            vec![
                json!(flipped),
                json!(format!("{text}x")),
                json!(""),
                Value::Null,
                json!(text.to_uppercase()),
            ]
            .into_iter()
            .filter(|other| other != value)
            .collect()
        }
        Value::Number(number) => vec![json!(number.as_u64().unwrap() + 1), json!(0)],
        Value::Bool(truth) => vec![json!(!truth)],
        Value::Null | Value::Array(_) | Value::Object(_) => panic!("no such member"),
    }
}

#[test]
fn a_change_of_any_member_of_any_record_is_found() {
    let lines = lines(1, 8);
    let mut changed = 0;
    for at in 1..lines.len() {
        for (member, value) in lines[at].as_object().unwrap() {
            for other in others(value) {
                let mut tampered = lines.clone();
                tampered[at][member] = other.clone();
                assert!(verdict(&tampered, None).is_err(), "record {at}: {member} as {other}");
                changed += 1;
            }
            let mut tampered = lines.clone();
            tampered[at].as_object_mut().unwrap().remove(member);
            assert!(verdict(&tampered, None).is_err(), "record {at} without {member}");
        }
        let mut tampered = lines.clone();
        tampered[at]["more"] = json!(1);
        assert!(verdict(&tampered, None).is_err(), "record {at} with more");
    }
    assert!(changed > 200, "{changed}");
}

#[test]
fn a_change_of_any_member_of_the_first_line_is_found() {
    for first in [1, 40] {
        let lines = lines(first, 5);
        for (member, value) in lines[0]["head"].as_object().unwrap() {
            for other in others(value) {
                let mut tampered = lines.clone();
                tampered[0]["head"][member] = other.clone();
                assert!(verdict(&tampered, None).is_err(), "{member} as {other}");
            }
        }
        let mut tampered = lines.clone();
        tampered[0]["head"]["trail"] = json!("checks");
        assert!(matches!(verdict(&tampered, None), Err(Broken::Changed(_))), "records of another trail");
        tampered = lines.clone();
        tampered[0]["format"] = json!("conclave audit 2");
        assert!(matches!(verdict(&tampered, None), Err(Broken::NoTrail(_))));
    }
}

#[test]
fn what_is_missing_moved_or_twice_is_found() {
    let lines = lines(1, 6);
    for at in 1..lines.len() {
        let mut without = lines.clone();
        without.remove(at);
        assert!(verdict(&without, None).is_err(), "without record {at}");
        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        assert!(matches!(verdict(&twice, None), Err(Broken::Gap { .. })), "record {at} twice");
        let mut short = lines.clone();
        short.truncate(at);
        assert!(matches!(verdict(&short, None), Err(Broken::WrongEnd { expected: 6, .. })), "cut at {at}");
    }
    for at in 1..lines.len() - 1 {
        let mut swapped = lines.clone();
        swapped.swap(at, at + 1);
        assert!(matches!(verdict(&swapped, None), Err(Broken::Gap { .. })));
    }
    assert!(matches!(check(&b""[..], None), Err(Broken::NoTrail(_))));
    assert!(matches!(check(&b"{}\n"[..], None), Err(Broken::NoTrail(_))));
    let text = text(&lines);
    assert!(check(&text.as_bytes()[..text.len() - 10], None).is_err(), "a torn last line");
}

#[test]
fn a_chain_made_anew_is_found_by_a_hash_kept_elsewhere() {
    let (old, new) = (lines(1, 5), lines(1, 6));
    // The longer one is the same up to there, so that it has the hash.
    let hash = old[5]["hash"].as_str().unwrap();
    assert_eq!(verdict(&new, Some(hash)).unwrap().witnessed, Some(5));
    // Another history, with good hashes throughout.
    let (mut head, mut forged) = records(1, 5);
    let chain = Chain { account: account(), trail: Trail::Acts };
    let mut previous = [0; 32];
    for record in &mut forged {
        record.target = "user/somebody else".to_owned();
        record.previous = previous;
        record.hash = chain.hash_of(record);
        previous = record.hash;
    }
    head.hash = previous;
    let head = HeadView::new(account(), crate::api::record::TrailName::Acts, &head);
    let mut lines = vec![json!(FirstLine { format: FORMAT.to_owned(), head })];
    lines.extend(forged.into_iter().map(|record| json!(RecordView::whole(chain, record))));
    assert!(verdict(&lines, None).is_ok());
    assert!(matches!(verdict(&lines, Some(hash)), Err(Broken::NotWitnessed(_))));
}

#[test]
fn time_does_not_run_backwards() {
    let (mut head, mut records) = records(1, 2);
    let chain = Chain { account: account(), trail: Trail::Acts };
    records[1].at = Timestamp(1);
    records[1].hash = chain.hash_of(&records[1]);
    head.hash = records[1].hash;
    let head = HeadView::new(account(), crate::api::record::TrailName::Acts, &head);
    let mut lines = vec![json!(FirstLine { format: FORMAT.to_owned(), head })];
    lines.extend(records.into_iter().map(|record| json!(RecordView::whole(chain, record))));
    assert!(matches!(verdict(&lines, None), Err(Broken::Backwards(2))));
}
