//! Operator commands to a node that serves HTTPS, under certificates that nobody else would believe.

use std::fs;
use std::path::Path;
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::harness::{Prepared, eventually};
use crate::processes::{SETTINGS, program};

/// One node as a process; killed when dropped.
struct Served {
    node: Child,
    prepared: Prepared,
    folder: tempfile::TempDir,
}

impl Served {
    async fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certify(folder.path());
        let file = |name: &str| folder.path().join(name).display().to_string();
        let tls =
            format!("tls_certificate = '{}'\ntls_key = '{}'\n{more}", file("http.pem"), file("http.key"));
        let prepared = Prepared::new(folder.path(), 1, &format!("{SETTINGS}{tls}"));
        let log = fs::File::create(folder.path().join("node.log")).unwrap();
        let node =
            program().args(["start", "--config"]).arg(&prepared.settings[0]).stderr(log).spawn().unwrap();
        let served = Self { node, prepared, folder };
        eventually("it is ready", async || served.run(&["health"]).status.success().then_some(())).await;
        served
    }

    fn run(&self, command: &[&str]) -> Output {
        program().args(command).arg("--config").arg(&self.prepared.settings[0]).output().unwrap()
    }

    #[track_caller]
    fn must(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn refused(&self, command: &[&str]) -> String {
        let output = self.run(command);
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
    }
}

/// A certificate as people make their own: signed by itself, an authority by mistake, for a name that is not loopback.
fn certify(folder: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec!["iam.example.com".to_owned()]).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("http.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("http.key"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn operator_commands_speak_tls_to_the_node_of_their_settings_and_to_no_other() {
    let served = Served::start("public_url = 'https://iam.example.com:8443'\n").await;
    assert!(served.must(&["members"]).contains("can lose 0"));
    assert!(served.must(&["keys", "status"]).contains("seals"));
    assert!(served.must(&["token", "create"]).len() > 40);
    // A first node writes its own certificate down soon after it has begun to serve.
    let listed = async || served.must(&["certs", "list"]).lines().nth(1).map(|line| line.starts_with("1 "));
    assert!(eventually("its certificate is listed", listed).await);
    assert!(served.must(&["setup"]).contains("https://iam.example.com:8443/"));
    assert!(served.must(&["admin", "create", "--username", "ada"]).contains("ada"));
    let trail = served.folder.path().join("trail.jsonl");
    served.must(&["audit", "export", "--out", &trail.display().to_string()]);

    // Replaced while it serves: the very next command finds the node, which shows the new one within seconds.
    certify(served.folder.path());
    let begun = Instant::now();
    served.must(&["members"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // Somebody else's certificate on our port, as far as these settings say.
    let copy = tempfile::tempdir().unwrap();
    certify(copy.path());
    let foreign = copy.path().join("http.pem").display().to_string();
    let text = fs::read_to_string(&served.prepared.settings[0]).unwrap();
    let own = served.folder.path().join("http.pem").display().to_string();
    let settings = copy.path().join("foreign.toml");
    fs::write(&settings, text.replace(&own, &foreign)).unwrap();
    let output = program().args(["members", "--config"]).arg(&settings).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("another certificate than"), "{said}");
}

#[tokio::test]
async fn a_port_that_speaks_no_tls_is_named() {
    let mut served = Served::start("").await;
    served.node.kill().unwrap();
    served.node.wait().unwrap();
    assert!(served.refused(&["members"]).contains("no node answers"));
    let listener = std::net::TcpListener::bind(served.prepared.http[0]).unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-x\r\n");
    });
    assert!(served.refused(&["members"]).contains("does not speak HTTPS"));
    answering.join().unwrap();
}
