//! Data folders and certificates: whose a folder is, and who else may use it.

use std::fs;

use conclave_cluster::folder::{DataFolder, FolderError};
use conclave_cluster::pki::{Authority, NodeCertificate};
use conclave_cluster::{Identity, LogTime, NodeId};

const NOW: LogTime = LogTime(1_760_000_000_000);

#[test]
fn a_second_user_of_a_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let identity = DataFolder::found(folder.path(), NOW).unwrap();
    let first = DataFolder::open(folder.path()).unwrap();
    assert_eq!(first.identity(), identity);
    assert!(matches!(DataFolder::open(folder.path()), Err(FolderError::InUse(_))));
    drop(first);
    DataFolder::open(folder.path()).unwrap();
}

#[test]
fn a_folder_is_prepared_for_one_node_only() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(NOW).unwrap();
    DataFolder::prepare(folder.path(), &authority, NodeId(2), NOW).unwrap();
    DataFolder::prepare(folder.path(), &authority, NodeId(2), NOW).unwrap();
    let other = DataFolder::prepare(folder.path(), &authority, NodeId(3), NOW);
    assert!(matches!(other, Err(FolderError::Taken { .. })), "{other:?}");
    let found = DataFolder::found(folder.path(), NOW);
    assert!(matches!(found, Err(FolderError::Taken { .. })), "{found:?}");
}

#[test]
fn a_certificate_of_another_node_or_cluster_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(NOW).unwrap();
    DataFolder::prepare(folder.path(), &authority, NodeId(2), NOW).unwrap();
    for wrong in [authority.issue(NodeId(3), NOW), Authority::create(NOW).unwrap().issue(NodeId(2), NOW)] {
        wrong.unwrap().save(folder.path()).unwrap();
        let opened = DataFolder::open(folder.path());
        assert!(matches!(opened, Err(FolderError::ForeignCertificate { .. })), "{opened:?}");
    }
    authority.issue(NodeId(2), NOW).unwrap().save(folder.path()).unwrap();
    DataFolder::open(folder.path()).unwrap();
}

#[test]
fn a_folder_that_requires_no_level_is_written_as_the_first_release_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let identity = DataFolder::found(folder.path(), NOW).unwrap();
    let file = folder.path().join(DataFolder::IDENTITY_FILE);
    let text = |format, started, level| {
        let Identity { cluster, node } = identity;
        format!("format = {format}\ncluster = \"{cluster}\"\nnode = {node}\nstarted = {started}\n{level}")
    };
    assert_eq!(fs::read_to_string(&file).unwrap(), text(1, false, ""));

    let mut opened = DataFolder::open(folder.path()).unwrap();
    opened.mark_started().unwrap();
    opened.require_level(1).unwrap();
    assert_eq!((opened.level(), fs::read_to_string(&file).unwrap()), (1, text(1, true, "")));
    // The format keeps out programs from before levels.
    opened.require_level(3).unwrap();
    opened.require_level(2).unwrap();
    assert_eq!((opened.level(), fs::read_to_string(&file).unwrap()), (3, text(2, true, "level = 3\n")));
    drop(opened);

    let again = DataFolder::open(folder.path()).unwrap();
    assert_eq!((again.level(), again.was_started(), again.identity()), (3, true, identity));
}

#[test]
fn a_level_is_kept_when_the_node_becomes_a_member() {
    let folder = tempfile::tempdir().unwrap();
    DataFolder::found(folder.path(), NOW).unwrap();
    let mut opened = DataFolder::open(folder.path()).unwrap();
    opened.require_level(2).unwrap();
    opened.mark_started().unwrap();
    drop(opened);
    let again = DataFolder::open(folder.path()).unwrap();
    assert_eq!((again.level(), again.was_started()), (2, true));
}

#[test]
fn a_damaged_or_newer_identity_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    DataFolder::found(folder.path(), NOW).unwrap();
    let file = folder.path().join(DataFolder::IDENTITY_FILE);
    let text = fs::read_to_string(&file).unwrap();

    fs::write(&file, text.replace("format = 1", "format = 3\nnews = true")).unwrap();
    let newer = DataFolder::open(folder.path());
    assert!(matches!(newer, Err(FolderError::NewerFormat { found: 3, .. })), "{newer:?}");

    for damaged in ["", "format = 1", "\u{0}\u{0}", &text.replace("cluster", "claster")] {
        fs::write(&file, damaged).unwrap();
        let opened = DataFolder::open(folder.path());
        assert!(matches!(opened, Err(FolderError::BadIdentity { .. })), "{damaged:?}: {opened:?}");
    }

    fs::remove_file(&file).unwrap();
    fs::create_dir(folder.path().join("log")).unwrap();
    assert!(matches!(DataFolder::open(folder.path()), Err(FolderError::NoIdentity(_))));
    assert!(matches!(DataFolder::found(folder.path(), NOW), Err(FolderError::NoIdentity(_))));
}

#[test]
fn a_folder_is_adopted_with_a_certificate_that_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let authority = Authority::create(NOW).unwrap();
    let identity = Identity { cluster: authority.cluster(), node: NodeId(4) };
    let peers = ["node-1:9080".to_owned(), "node-2:9080".to_owned()];
    let wrong = authority.issue(NodeId(5), NOW).unwrap();
    let adopted = DataFolder::adopt(path, identity, &wrong, &peers);
    assert!(matches!(adopted, Err(FolderError::ForeignCertificate { .. })), "{adopted:?}");
    assert_eq!(DataFolder::owner(path).unwrap(), None);
    let right = authority.issue(NodeId(4), NOW).unwrap();
    let mixed = NodeCertificate { key: wrong.key, ..right.clone() };
    assert!(DataFolder::adopt(path, identity, &mixed, &peers).is_err());

    DataFolder::adopt(path, identity, &right, &peers).unwrap();
    let open = DataFolder::open(path).unwrap();
    assert_eq!((open.identity(), open.peers()), (identity, &peers[..]));
    open.mark_started().unwrap();
    drop(open);
    assert!(DataFolder::open(path).unwrap().peers().is_empty());
    let again = DataFolder::adopt(path, identity, &right, &peers);
    assert!(matches!(again, Err(FolderError::Taken { .. })), "{again:?}");
}

#[test]
fn a_certificate_beside_another_ones_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(NOW).unwrap();
    DataFolder::prepare(folder.path(), &authority, NodeId(2), NOW).unwrap();
    let other = authority.issue(NodeId(2), NOW).unwrap();
    fs::write(folder.path().join(NodeCertificate::CERTIFICATE_FILE), other.certificate).unwrap();
    let opened = DataFolder::open(folder.path());
    assert!(matches!(opened, Err(FolderError::ForeignCertificate { .. })), "{opened:?}");
    assert!(opened.unwrap_err().to_string().contains("key beside it"));
}

#[test]
fn a_cluster_is_founded_with_an_authority_that_is_there_already() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(NOW).unwrap();
    let identity = DataFolder::found_with(folder.path(), &authority, NOW).unwrap();
    assert_eq!(identity, Identity { cluster: authority.cluster(), node: NodeId(1) });
    let kept = Authority::load(folder.path(), identity.cluster).unwrap();
    assert_eq!(kept.fingerprint(), authority.fingerprint());
    let again = DataFolder::found_with(folder.path(), &authority, NOW);
    assert!(matches!(again, Err(FolderError::Taken { .. })), "{again:?}");
}

#[cfg(unix)]
#[test]
fn keys_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    DataFolder::found(folder.path(), NOW).unwrap();
    for key in [Authority::KEY_FILE, NodeCertificate::KEY_FILE] {
        let mode = fs::metadata(folder.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn an_authority_issues_after_being_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let identity = DataFolder::found(folder.path(), NOW).unwrap();
    let authority = Authority::load(folder.path(), identity.cluster).unwrap();
    let other = tempfile::tempdir().unwrap();
    DataFolder::prepare(other.path(), &authority, NodeId(2), NOW).unwrap();
    assert_eq!(DataFolder::open(other.path()).unwrap().identity().cluster, identity.cluster);
    assert!(!format!("{:?}", DataFolder::open(other.path()).unwrap()).contains("PRIVATE"));
}
