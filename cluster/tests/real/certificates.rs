//! Certificates of nodes that run: replaced, refused, given on the way in.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use conclave_cluster::enrol::{self, Listener, Trust};
use conclave_cluster::pki::{Authority, CertificateRequest, NodeCertificate};
use conclave_cluster::{
    Clock, Cluster, DataFolder, EnrolHandler, FolderError, Identity, InstallError, NodeId, Refused,
    StartError, SystemClock,
};
use futures_util::future::BoxFuture;

use crate::harness::{Nodes, eventually, soon, start};

fn serial(node: &Cluster) -> String {
    node.certificate().unwrap().serial
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_while_the_nodes_serve() {
    let mut nodes = Nodes::three().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let reading: Vec<_> = nodes
        .all()
        .into_iter()
        .cloned()
        .map(|node| tokio::spawn(keep_reading(node, is_over.clone())))
        .collect();
    let mut used = BTreeSet::new();
    for round in 0..4 {
        for id in 1..=3 {
            let node = nodes.node(id);
            used.insert(serial(node));
            let request = CertificateRequest::create().unwrap();
            let validity = Authority::NODE_VALIDITY;
            let signed =
                nodes.authority.sign(NodeId(id), &request.request, validity, SystemClock.now()).unwrap();
            let authority = nodes.authority.certificate_pem().to_owned();
            node.install_certificate(&request.complete(signed.certificate, authority)).unwrap();
            assert_eq!(serial(node), signed.serial);
            nodes.write(id, &format!("put key-{round}-{id} value")).await;
        }
    }
    // What was used before is refused: connections that still stand on it end, and calls go on over new ones.
    let refused = Refused { certificates: used, ..Refused::default() };
    nodes.all().iter().for_each(|node| node.refuse(refused.clone()));
    for id in 1..=3 {
        nodes.write(id, "put after value").await;
        assert_eq!(*nodes.node(id).refused().borrow(), None);
    }
    is_over.store(true, Ordering::Relaxed);
    for reader in reading {
        reader.await.unwrap();
    }
    // It is the new one that a restart finds.
    let before = serial(nodes.node(2));
    nodes.stop(2).await;
    assert_eq!(serial(&nodes.start(2).await.unwrap()), before);
    nodes.assert_equal().await;
}

async fn keep_reading(node: Cluster, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        node.read_barrier(soon()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_no_use_is_not_taken() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    let node = nodes.start(1).await.unwrap();
    let before = node.certificate().unwrap();
    let files = |name: &str| fs::read(nodes.folder(1).join(name)).unwrap();
    let key_before = files("node.key");
    let good = |id| nodes.authority.issue(NodeId(id), SystemClock.now()).unwrap();
    let other = Authority::create(SystemClock.now()).unwrap();
    let long_ago = conclave_cluster::LogTime(1_500_000_000_000);
    let old = Authority::create(long_ago).unwrap();
    let wrong = [
        ("another node's", good(2)),
        ("another cluster's", other.issue(NodeId(1), SystemClock.now()).unwrap()),
        (
            "of another authority",
            NodeCertificate { authority: other.certificate_pem().to_owned(), ..good(1) },
        ),
        ("with another key", NodeCertificate { key: good(1).key, ..good(1) }),
        ("expired", old.issue(NodeId(1), long_ago).unwrap()),
        ("no authority", NodeCertificate { authority: String::new(), ..good(1) }),
        ("nothing", NodeCertificate { certificate: String::new(), ..good(1) }),
    ];
    for (what, certificate) in wrong {
        let installed = node.install_certificate(&certificate);
        assert!(matches!(installed, Err(InstallError::Unusable(_))), "{what}: {installed:?}");
    }
    let revoked = good(1);
    let certificates = BTreeSet::from([revoked.facts().unwrap().serial]);
    node.refuse(Refused { certificates, ..Refused::default() });
    assert!(node.install_certificate(&revoked).unwrap_err().to_string().contains("revoked"));
    assert_eq!(node.certificate().unwrap(), before);
    assert_eq!(files("node.key"), key_before);
    nodes.write(1, "put key value").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_is_replaced_node_by_node() {
    let nodes = Nodes::three().await;
    let newer = Authority::create_for(nodes.authority.cluster(), SystemClock.now()).unwrap();
    let both = format!("{}{}", newer.certificate_pem(), nodes.authority.certificate_pem());
    let steps: [(&Authority, &str); 3] =
        [(&nodes.authority, &both), (&newer, &both), (&newer, newer.certificate_pem())];
    for (issuer, authority) in steps {
        for id in 1..=3 {
            let issued = issuer.issue(NodeId(id), SystemClock.now()).unwrap();
            let authority = authority.to_owned();
            nodes.node(id).install_certificate(&NodeCertificate { authority, ..issued }).unwrap();
            nodes.write(id, "put key value").await;
        }
    }
    nodes.assert_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_leader_loses_its_office_and_says_why() {
    let mut nodes = Nodes::three().await;
    nodes.write(1, "put key value").await;
    let shut_out = nodes.leader().await.identity().node;
    let others: Vec<u64> = (1..=3).filter(|id| *id != shut_out.0).collect();
    let refused = Refused { nodes: BTreeSet::from([shut_out]), ..Refused::default() };
    for id in &others {
        nodes.node(*id).refuse(refused.clone());
    }
    eventually("another leader", || async {
        let leads = |id: &&u64| nodes.node(**id).is_leader();
        others.iter().find(leads).copied()
    })
    .await;
    nodes.write(others[0], "put key newer").await;
    let old = nodes.node(shut_out.0);
    let says = format!("node {shut_out} was removed from this cluster; its id is never used again");
    eventually("the refusal", || async { old.status().refused.filter(|reason| reason.contains(&says)) })
        .await;
    assert!(!old.is_ready() && !old.status().is_ready);
    assert!(old.read_barrier(tokio::time::Instant::now() + Duration::from_millis(500)).await.is_err());
    for id in &others {
        assert_eq!(nodes.node(*id).status().refused, None);
    }

    // Nor does a restart help: it is told again.
    nodes.stop(shut_out.0).await;
    let back = nodes.start(shut_out.0).await;
    match back {
        Err(StartError::Refused(reason)) => assert!(reason.contains(&says), "{reason}"),
        Err(other) => panic!("{other}"),
        Ok(back) => {
            eventually("the refusal", || async { back.status().refused }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_id_does_not_join_again() {
    let mut nodes = Nodes::none(10_000);
    for id in 1..=2 {
        nodes.prepare(id);
    }
    nodes.start(1).await.unwrap();
    nodes.node(1).refuse(Refused { nodes: BTreeSet::from([NodeId(2)]), ..Refused::default() });
    let started = nodes.start(2).await;
    let Err(StartError::Refused(reason)) = started else { panic!("{started:?}") };
    assert!(reason.contains("never used again"), "{reason}");
    assert_eq!(nodes.node(1).status().members.len(), 1);
}

/// Gives whoever asks a certificate of node 2.
struct Signer(Authority);

impl EnrolHandler for Signer {
    fn enrol(&self, _: bool, request: Bytes) -> BoxFuture<'static, Bytes> {
        let request = String::from_utf8(request.to_vec()).unwrap();
        let validity = Authority::NODE_VALIDITY;
        let signed = self.0.sign(NodeId(2), &request, validity, SystemClock.now()).unwrap();
        Box::pin(async move { signed.certificate.into() })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_enrolled_and_joins() {
    let mut nodes = Nodes::none(10_000);
    let folder = nodes.folder(1);
    DataFolder::found_with(&folder, &nodes.authority, SystemClock.now()).unwrap();
    let first = nodes.start(1).await.unwrap();
    let address = first.peer_address().to_string();

    // The authority's key is where the cluster was founded, until it is kept elsewhere.
    let authority = first.authority().unwrap().unwrap();
    let (cluster, fingerprint) = (authority.cluster(), authority.fingerprint());
    assert_eq!(fingerprint, nodes.authority.fingerprint());
    first.forget_authority_key().unwrap();
    first.forget_authority_key().unwrap();
    assert!(first.authority().unwrap().is_none());
    assert!(!folder.join(Authority::KEY_FILE).exists());
    first.set_enrol_handler(Arc::new(Signer(authority)));

    let request = CertificateRequest::create().unwrap();
    let trust = Trust::Fingerprint { cluster, fingerprint };
    let asking = enrol::ask(&address, trust, request.request.clone().into(), Duration::from_secs(10));
    let certificate = String::from_utf8(asking.await.unwrap().to_vec()).unwrap();
    let certificate = request.complete(certificate, nodes.authority.certificate_pem().to_owned());
    let identity = Identity { cluster, node: NodeId(2) };
    DataFolder::adopt(&nodes.folder(2), identity, &certificate, std::slice::from_ref(&address)).unwrap();
    let mut config = nodes.config(2);
    config.join = Vec::new();
    let second = start(config.clone()).await.unwrap();
    assert_eq!(second.status().members.len(), 2);
    second.shutdown().await;
    // A member needs nobody to be named, and remembers no one.
    let second = start(config).await.unwrap();
    assert_eq!(second.identity(), identity);
    nodes.running[2] = Some(second);
    nodes.write(2, "put key value").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_port_of_a_listener_is_free_for_the_node_that_follows() {
    let mut nodes = Nodes::none(10_000);
    let any = "127.0.0.1:0".parse().unwrap();
    let signer = || {
        Arc::new(Signer(
            Authority::from_pem(
                nodes.authority.cluster(),
                nodes.authority.certificate_pem(),
                &nodes.authority.key_pem(),
            )
            .unwrap(),
        ))
    };
    let listener = Listener::bind(any, &nodes.authority, signer()).await.unwrap();
    let address = listener.address();
    let ask = || async {
        let request = CertificateRequest::create().unwrap().request;
        let trust = Trust::Authority(&nodes.authority);
        enrol::ask(&address.to_string(), trust, request.into(), Duration::from_secs(10)).await
    };
    ask().await.unwrap();
    listener.close().await;
    DataFolder::found_with(&nodes.folder(1), &nodes.authority, SystemClock.now()).unwrap();
    let mut config = nodes.config(1);
    config.listen = address;
    let node = start(config).await.unwrap();
    assert!(ask().await.unwrap_err().to_string().contains("still starting"));
    node.set_enrol_handler(signer());
    ask().await.unwrap();
    nodes.running[1] = Some(node);
    nodes.write(1, "put key value").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_is_sealed_from_the_first_start_on() {
    let mut nodes = Nodes::none(10_000);
    nodes.prepare(1);
    let file = nodes.folder(1).join(NodeCertificate::KEY_FILE);
    let plain = fs::read(&file).unwrap();
    assert!(plain.starts_with(b"-----BEGIN PRIVATE KEY-----"));
    let first = serial(&nodes.start(1).await.unwrap());
    nodes.stop(1).await;
    let sealed = fs::read(&file).unwrap();
    for needle in [&b"BEGIN"[..], b"PRIVATE", &plain[40..80]] {
        assert!(!sealed.windows(needle.len()).any(|window| window == needle));
    }

    // The readable copies are copies: lost or changed, they are written again.
    let copy = nodes.folder(1).join(NodeCertificate::CERTIFICATE_FILE);
    let readable = fs::read(&copy).unwrap();
    fs::remove_file(&copy).unwrap();
    assert_eq!(serial(&nodes.start(1).await.unwrap()), first);
    assert_eq!(fs::read(&copy).unwrap(), readable);
    nodes.stop(1).await;

    for damage in
        [sealed[..sealed.len() - 1].to_vec(), [&sealed[..20], &[!sealed[20]], &sealed[21..]].concat()]
    {
        fs::write(&file, damage).unwrap();
        let started = nodes.start(1).await;
        assert!(matches!(started, Err(StartError::Folder(FolderError::DamagedKey(_)))), "{started:?}");
    }
    let data_key = nodes.folder(1).join("node.dek");
    fs::rename(&data_key, nodes.folder(1).join("aside")).unwrap();
    fs::write(&file, &sealed).unwrap();
    let started = nodes.start(1).await;
    assert!(matches!(started, Err(StartError::Folder(FolderError::Key(_)))), "{started:?}");
    fs::rename(nodes.folder(1).join("aside"), &data_key).unwrap();
    assert_eq!(serial(&nodes.start(1).await.unwrap()), first);

    // A first start that was cut short before it had sealed the key does so the next time, under a new data key too.
    nodes.stop(1).await;
    let identity = nodes.folder(1).join(DataFolder::IDENTITY_FILE);
    let text = fs::read_to_string(&identity).unwrap();
    fs::write(&identity, text.replace("started = true", "started = false")).unwrap();
    nodes.authority.issue(NodeId(1), SystemClock.now()).unwrap().save(&nodes.folder(1)).unwrap();
    fs::write(&data_key, b"rotten").unwrap();
    assert_ne!(serial(&nodes.start(1).await.unwrap()), first);
    assert!(!fs::read(&file).unwrap().starts_with(b"-----BEGIN"));
}
