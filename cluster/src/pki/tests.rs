//! What an authority signs, what it refuses, and what is told apart.

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};

use super::*;
use crate::identity::{ClusterId, NodeId};
use crate::network::tls::verify;

const NOW: LogTime = LogTime(1_760_000_000_000);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn authority() -> Authority {
    Authority::create(NOW).unwrap()
}

fn identity(authority: &Authority, node: u64) -> Identity {
    Identity { cluster: authority.cluster(), node: NodeId(node) }
}

#[test]
fn a_request_becomes_a_certificate_of_the_node_and_the_key_stays() {
    let authority = authority();
    let request = CertificateRequest::create().unwrap();
    assert!(!request.request.contains("PRIVATE"));
    assert!(!format!("{request:?}").contains("PRIVATE"));
    let validity = std::time::Duration::from_millis(30 * DAY_MS);
    let signed = authority.sign(NodeId(4), &request.request, validity, NOW).unwrap();
    assert_eq!(signed.not_after, LogTime(NOW.0 + 30 * DAY_MS));
    let certificate = request.complete(signed.certificate, authority.certificate_pem().to_owned());
    certificate.check(identity(&authority, 4)).unwrap();
    verify(&certificate, identity(&authority, 4), NOW).unwrap();
    let facts = certificate.facts().unwrap();
    assert_eq!((&facts.serial, facts.not_after), (&signed.serial, signed.not_after));
    assert_eq!(facts.serial.len(), 32);
    // Clocks of other nodes may be a little behind.
    assert!(facts.not_before < NOW && facts.not_before.0 + DAY_MS > NOW.0);
}

#[test]
fn serial_numbers_and_keys_differ_each_time() {
    let authority = authority();
    let facts = [1, 1, 2].map(|node| authority.issue(NodeId(node), NOW).unwrap().facts().unwrap());
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        assert_ne!(facts[a].serial, facts[b].serial);
        assert_ne!(facts[a].key_fingerprint, facts[b].key_fingerprint);
    }
    assert_eq!(facts[0].not_after, LogTime(NOW.0 + 90 * DAY_MS));
}

#[test]
fn the_serial_number_that_tls_sees_is_the_one_that_is_revoked() {
    let certificate = authority().issue(NodeId(1), NOW).unwrap();
    let der = certificates(&certificate.certificate).unwrap();
    assert_eq!(serial_of(&der[0]), Some(certificate.facts().unwrap().serial));
}

#[test]
fn what_a_request_says_of_itself_is_not_believed() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let greedy = CertificateParams::new([authority.cluster().node_name(NodeId(1))]).unwrap();
    let request = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let signed = authority.sign(NodeId(4), &request, Authority::NODE_VALIDITY, NOW).unwrap();
    let der = certificates(&signed.certificate).unwrap();
    check_name(&der[0], identity(&authority, 4)).unwrap();
    assert!(check_name(&der[0], identity(&authority, 1)).is_err());
    assert!(fingerprint_of_authority(&der[0]).is_none());
}

#[test]
fn a_forged_request_is_refused() {
    let authority = authority();
    let good = CertificateRequest::create().unwrap().request;
    let other = CertificateParams::default();
    let other = other.serialize_request(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()).unwrap();
    // A bit of the signature, which stands at the end.
    let mut flipped = rcgen::CertificateSigningRequestParams::from_pem(&good).map(|_| good.clone()).unwrap();
    let at = flipped.rfind("\n-----END").unwrap() - 8;
    let replacement = if flipped.as_bytes()[at] == b'A' { "B" } else { "A" };
    flipped.replace_range(at..=at, replacement);
    let certificate = authority.issue(NodeId(1), NOW).unwrap().certificate;
    for (what, request) in [
        ("an altered signature", flipped),
        ("a key of another kind", other.pem().unwrap()),
        ("a certificate", certificate),
        ("nothing", String::new()),
        ("no PEM", "hello".to_owned()),
        ("cut short", good[..good.len() / 2].to_owned()),
        ("too long", good.clone() + &" ".repeat(20_000)),
    ] {
        let signed = authority.sign(NodeId(4), &request, Authority::NODE_VALIDITY, NOW);
        assert!(matches!(signed, Err(PkiError::Request(_))), "{what}: {signed:?}");
    }
    authority.sign(NodeId(4), &good, Authority::NODE_VALIDITY, NOW).unwrap();
}

#[test]
fn nothing_outlives_its_authority() {
    let authority = authority();
    let end = authority.not_after();
    let late = LogTime(end.0 - DAY_MS);
    assert_eq!(authority.issue(NodeId(1), late).unwrap().facts().unwrap().not_after, end);
    assert!(matches!(authority.issue(NodeId(1), end), Err(PkiError::AuthorityExpired(at)) if at == end));
}

#[test]
fn an_authority_is_read_back_from_its_texts() {
    let authority = authority();
    let cluster = authority.cluster();
    let (certificate, key) = (authority.certificate_pem().to_owned(), authority.key_pem());
    let both = format!("{certificate}{}", *key);
    let newer = Authority::create_for(cluster, NOW).unwrap();
    let bundle = format!("{}{certificate}", newer.certificate_pem());
    for (certificate, key) in [(&certificate, &*key), (&both, &both), (&bundle, &*key)] {
        let read = Authority::from_pem(cluster, certificate, key).unwrap();
        assert_eq!(read.fingerprint(), authority.fingerprint());
        let issued = read.issue(NodeId(2), NOW).unwrap();
        assert_eq!(issued.authority.trim(), authority.certificate_pem().trim());
        verify(&issued, identity(&authority, 2), NOW).unwrap();
    }
    assert_eq!(Authority::cluster_of(&certificate).unwrap(), cluster);
    let other = self::authority();
    let wrong = [
        Authority::from_pem(cluster, other.certificate_pem(), &other.key_pem()),
        Authority::from_pem(cluster, &certificate, &other.key_pem()),
        Authority::from_pem(cluster, &authority.issue(NodeId(1), NOW).unwrap().certificate, &key),
        Authority::from_pem(cluster, "", &key),
        Authority::from_pem(cluster, &certificate, ""),
    ];
    for read in wrong {
        assert!(read.is_err(), "{read:?}");
    }
    assert!(!format!("{authority:?}").contains("PRIVATE"));
}

#[test]
fn candidates_and_members_are_told_apart() {
    let authority = authority();
    let cluster = authority.cluster();
    let names = |certificate: &NodeCertificate| {
        let der = certificates(&certificate.certificate).unwrap().remove(0);
        let carries = |name: String| check_dns_name(&der, name).is_ok();
        [
            carries(cluster.node_name(NodeId(1))),
            carries(cluster.member_name()),
            carries(cluster.candidate_name()),
        ]
    };
    assert_eq!(names(&authority.issue(NodeId(1), NOW).unwrap()), [true, true, false]);
    assert_eq!(names(&authority.issue_candidate(NOW).unwrap()), [false, false, true]);
    assert_eq!(names(&authority.issue_enroller(NOW).unwrap()), [false, true, false]);
    // It does not even serve: its usage is that of a client.
    let candidate = authority.issue_candidate(NOW).unwrap();
    assert!(verify(&candidate, identity(&authority, 1), NOW).is_err());
}

#[test]
fn a_certificate_is_checked_before_it_is_used() {
    let authority = authority();
    let good = authority.issue(NodeId(1), NOW).unwrap();
    let own = identity(&authority, 1);
    good.check(own).unwrap();
    verify(&good, own, NOW).unwrap();
    assert!(good.check(identity(&authority, 2)).is_err());
    assert!(good.check(Identity { cluster: ClusterId::from_random([1; 16]), ..own }).is_err());
    let mixed = NodeCertificate { key: authority.issue(NodeId(1), NOW).unwrap().key, ..good.clone() };
    assert!(mixed.check(own).unwrap_err().contains("another certificate"));
    let foreign =
        NodeCertificate { authority: self::authority().certificate_pem().to_owned(), ..good.clone() };
    assert!(verify(&foreign, own, NOW).is_err());
    assert!(verify(&good, own, LogTime(NOW.0 + 91 * DAY_MS)).is_err());
    assert!(verify(&good, own, LogTime(NOW.0 - DAY_MS)).is_err());
    // While an authority is replaced, either will do.
    let newer = Authority::create_for(own.cluster, NOW).unwrap();
    let bundle = format!("{}{}", authority.certificate_pem(), newer.certificate_pem());
    for issued in [good, newer.issue(NodeId(1), NOW).unwrap()] {
        verify(&NodeCertificate { authority: bundle.clone(), ..issued }, own, NOW).unwrap();
    }
}

#[test]
fn dates_are_written_for_people() {
    assert_eq!(date(LogTime(0)), "1970-01-01T00:00:00Z");
    assert_eq!(date(LogTime(1_760_000_000_123)), "2025-10-09T08:53:20Z");
    assert_eq!(date(LogTime(u64::MAX)), "9999-12-31T23:59:59Z");
}
