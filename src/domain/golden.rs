//! The bytes of everything that is stored or sent, one sample of each variant, against `golden.txt`.
//!
//! Log entries, rows and replies outlive the version that wrote them. So a variant may be added at the end
//! of its enum, and a row type may change under a new version byte; nothing else may change. When the test
//! fails after such an addition, run `CONCLAVE_GOLDEN=write cargo test golden` and look at the difference:
//! it must show new lines and no changed one.

mod samples;
mod stored;
mod variants;

use std::fmt::Write as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit::{Chain, Trail};
use super::cluster::SetupOffer;
use super::restore::{Restore, RestorePart, is_known};
use super::testing::MemoryRows;
use super::{Rejection, account::AccountState, key::KeyState, membership::Membership, rows::tables};
use samples as sample;

#[test]
fn stored_bytes_stay_as_they_are() {
    let actual = lines();
    if std::env::var_os("CONCLAVE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/golden.txt");
        std::fs::write(path, actual).unwrap();
        return;
    }
    let golden = include_str!("golden.txt");
    let mut wrong = Vec::new();
    for line in golden.lines().filter(|line| !actual.lines().any(|other| other == *line)) {
        let name = line.split(' ').next().unwrap_or_default();
        let now = actual.lines().find(|other| other.split(' ').next() == Some(name)).unwrap_or("gone");
        wrong.push(format!("changed: {line}\n    now: {now}"));
    }
    assert!(
        wrong.is_empty(),
        "bytes that disks and other nodes hold are read otherwise now. Put new variants at the end of their \
         enum, and give a changed row type a new version:\n{}",
        wrong.join("\n")
    );
    assert_eq!(golden, actual, "what is new is not written down: CONCLAVE_GOLDEN=write cargo test golden");
}

/// How many variants the enums had, at level 1, that stand inside a command and that `domain/level.rs` does not
/// match one by one. When this fails, give the new variant a level there, or a node that is still to be upgraded
/// decides the command otherwise than the others; then count it here.
#[test]
fn what_is_added_inside_a_command_is_given_a_level() {
    let counts = [
        ("Principal", variants::of::<super::Principal>().len(), 3),
        ("Proof", variants::of::<super::session::Proof>().len(), 2),
        ("NewRefresh", variants::of::<super::session::NewRefresh>().len(), 3),
        ("Family", variants::of::<super::session::Family>().len(), 2),
        ("KeyAlgorithm", variants::of::<super::key::KeyAlgorithm>().len(), 1),
        ("UserStatus", variants::of::<super::user::UserStatus>().len(), 3),
        ("Registration", variants::of::<super::settings::Registration>().len(), 2),
        ("PasswordRule", variants::of::<super::settings::PasswordRule>().len(), 2),
        ("Why", variants::of::<super::lockout::Why>().len(), 6),
        ("Trail", variants::of::<Trail>().len(), 2),
    ];
    for (name, now, then) in counts {
        assert_eq!(now, then, "{name} has another number of variants: see the head of domain/level.rs");
    }
}

fn lines() -> String {
    let mut text = String::new();
    variants_of("Action", &sample::actions(), &mut text);
    variants_of("NodeOrder", &sample::node_orders(), &mut text);
    variants_of("Admission", &sample::admissions(), &mut text);
    variants_of("Part", &sample::parts(), &mut text);
    variants_of("NodeState", &sample::node_states(), &mut text);
    variants_of("TokenFault", &sample::token_faults(), &mut text);
    variants_of("Actor", &sample::actors(), &mut text);
    variants_of("Reply", &sample::replies(), &mut text);
    variants_of("Rejection", &sample::rejections(), &mut text);
    variants_of("Noun", &sample::nouns(), &mut text);
    variants_of("Resource", &sample::resources(), &mut text);
    variants_of("Principal", &sample::principals(), &mut text);
    variants_of("Proof", &sample::proofs(), &mut text);
    variants_of("NewRefresh", &sample::new_refreshes(), &mut text);
    variants_of("Refresh", &sample::refreshes(), &mut text);
    variants_of("Method", &sample::methods(), &mut text);
    variants_of("UserStatus", &sample::statuses(), &mut text);
    variants_of("AccountState", &sample::account_states(), &mut text);
    variants_of("KeyAlgorithm", &sample::algorithms(), &mut text);
    variants_of("SealedSecret", &sample::sealed_secrets(), &mut text);
    variants_of("KeyState", &sample::key_states(), &mut text);
    variants_of("Owner", &sample::owners(), &mut text);
    variants_of("Registration", &sample::registrations(), &mut text);
    variants_of("PasswordRule", &sample::password_rules(), &mut text);
    variants_of("Family", &sample::families(), &mut text);
    variants_of("Trail", &sample::trails(), &mut text);
    variants_of("Why", &sample::reasons(), &mut text);
    one("Command", &sample::command(), &mut text);
    one("Verdict/Ok", &Ok::<_, Rejection>(sample::replies().remove(0)), &mut text);
    one("Verdict/Err", &Err::<super::Reply, _>(Rejection::Unauthenticated), &mut text);
    rows(&mut text);
    text
}

/// One line for each variant; fails where one has no sample, or not in its place.
fn variants_of<V>(name: &str, samples: &[V], text: &mut String)
where
    V: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let variants = variants::of::<V>();
    assert_eq!(
        variants.len(),
        samples.len(),
        "{name} needs a sample in golden/samples.rs for each of {variants:?}"
    );
    for (at, (variant, value)) in variants.iter().zip(samples).enumerate() {
        let bytes = postcard::to_stdvec(value).unwrap();
        assert_eq!(usize::from(bytes[0]), at, "the {at}th sample of {name} must be a {variant}");
        one(&format!("{name}::{variant}"), value, text);
    }
}

fn one<V: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    name: &str,
    value: &V,
    text: &mut String,
) {
    let bytes = postcard::to_stdvec(value).unwrap();
    assert_eq!(&postcard::from_bytes::<V>(&bytes).unwrap(), value, "{name} is not what it was");
    writeln!(text, "{name} {}", hex(&bytes)).unwrap();
}

/// A row of each table, with its key.
fn rows(text: &mut String) {
    let rows = &mut MemoryRows::of_the_first_release();
    let account = sample::account();
    let closed = AccountState::Closed { at: sample::at() };
    macro_rules! rows {
        ($($table:ident ( $rest:expr ) = $value:expr;)*) => {$(
            tables::$table.put(rows, account, $rest, &$value).unwrap();
            put(stringify!($table), rows, text);
        )*};
    }
    rows! {
        ACCOUNT(&[]) = stored::stored_account(AccountState::Open);
        ACCOUNT(&[]) = stored::stored_account(closed);
        USER(b"id") = stored::stored_user();
        USER_NAME(b"name") = sample::user();
        USER_EMAIL(b"email") = sample::user();
        PASSWORD(b"id") = stored::stored_password();
        ATTEMPTS(b"id") = stored::attempts();
        HOLDER(&[]) = stored::holder();
        SETTINGS(&[]) = stored::settings();
        SUBJECT(b"id") = stored::stored_subject();
        SUBJECT_KEY(b"path") = stored::stored_subject_key();
        SUBJECT_KEY_HASH(b"hash") = (sample::subject(), sample::api_key());
        SERVICE(b"id") = stored::stored_service();
        SERVICE_NAME(b"name") = sample::service();
        API_KEY(b"path") = stored::stored_api_key();
        API_KEY_HASH(b"hash") = (sample::service(), sample::api_key());
        ROLE(b"name") = stored::stored_role();
        PERMISSION_ROLE(b"key") = ();
        MEMBERSHIP(b"key") = Membership { since: sample::at() };
        ROLE_MEMBER(b"key") = ();
        SESSION(b"id") = stored::stored_session();
        PRINCIPAL_SESSION(b"key") = ();
        REFRESH(b"hash") = stored::pointer();
        SESSION_EXPIRY(b"key") = ();
        SESSION_REFRESH(b"key") = sample::secret();
        SIGNING_KEY(b"kid") = stored::stored_key(KeyState::Signing);
        AUDIT_HEAD(b"trail") = stored::audit_head();
        AUDIT(b"sequence") = stored::audit_record();
    }
    tables::ROOT_EMAIL.put(rows, b"email", &account).unwrap();
    put("ROOT_EMAIL", rows, text);
    tables::CLUSTER_SECRETS.put(rows, &[], &sample::cluster_secrets()).unwrap();
    put("CLUSTER_SECRETS", rows, text);
    tables::HOLDER_KEY.put(rows, b"hash", &account).unwrap();
    put("HOLDER_KEY", rows, text);
    tables::HOLDER_RECOVERY.put(rows, b"hash", &account).unwrap();
    put("HOLDER_RECOVERY", rows, text);
    tables::NODE.put(rows, &300_u64.to_be_bytes(), &stored::node()).unwrap();
    put("NODE", rows, text);
    tables::JOIN_TOKEN.put(rows, b"id", &stored::join_token()).unwrap();
    put("JOIN_TOKEN", rows, text);
    tables::NODE_AUTHORITY.put(rows, &[], &sample::node_authority()).unwrap();
    put("NODE_AUTHORITY", rows, text);
    let offer = SetupOffer { secret: sample::secret(), expires_at: sample::at() };
    tables::SETUP_OFFER.put(rows, &[], &offer).unwrap();
    put("SETUP_OFFER", rows, text);
    let restore = Restore { id: sample::restore(), begun_at: sample::at(), parts: 300, rows: 301 };
    tables::RESTORE.put(rows, account.as_bytes(), &restore).unwrap();
    put("RESTORE", rows, text);
    let part = RestorePart { rows: vec![sample::restored_row()] };
    tables::RESTORE_PART.put(rows, b"path", &part).unwrap();
    put("RESTORE_PART", rows, text);
    tables::LEVEL.put(rows, &[], &300).unwrap();
    put("LEVEL", rows, text);
    let chain = Chain { account, trail: Trail::Acts };
    let hash = chain.hash_of(&stored::audit_record());
    writeln!(text, "audit-hash {}", hex(&hash)).unwrap();
    for (name, principal) in ["user", "service", "subject"].iter().zip(sample::principals()) {
        writeln!(text, "principal-key/{name} {}", hex(&principal.key())).unwrap();
    }
}

/// Takes the one row that was put, and writes it down.
fn put(table: &str, rows: &mut MemoryRows, text: &mut String) {
    let (key, row) = rows.rows.pop_first().unwrap();
    assert!(rows.rows.is_empty());
    assert!(is_known(&key, &row.value), "{table} is not among the tables that are restored");
    let account = sample::account();
    let head = [b"a".as_slice(), account.as_bytes()].concat();
    let key = match key.strip_prefix(head.as_slice()) {
        Some(rest) => format!("a/account/{}", hex(rest)),
        None => hex(&key),
    };
    writeln!(text, "row/{table} {key} {}", hex(&row.value)).unwrap();
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
