//! Settings: where they come from, which wins, what is refused and how it is said.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use conclave::config::{Config, Flags, LogFormat, SETTINGS};

/// Loads settings from a file's text and variables; the error as its text.
fn load(flags: Flags, file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conclave.toml");
    fs::write(&path, file).unwrap();
    let variables = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(flags, Some(&path), variables).map_err(|error| error.to_string())
}

fn none() -> Flags {
    Flags::default()
}

#[test]
fn nothing_given_is_a_loopback_node() {
    let config = Config::load(none(), None, Vec::new()).unwrap();
    assert_eq!(config.http_listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.peer_advertise, "127.0.0.1:9080");
    assert_eq!(config.data, PathBuf::from("conclave-data"));
    assert_eq!(config.key_file, std::env::current_dir().unwrap().join("conclave-data.kek"));
    assert!(config.jwt_secret.is_none() && config.join.is_empty() && config.allowed_origins.is_empty());
    assert_eq!(config.refresh_token_lifetime, Duration::from_hours(7 * 24));
    assert_eq!(
        (config.argon2.memory_kib, config.argon2.iterations, config.argon2.parallelism),
        (19456, 2, 1)
    );
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "http_listen = '127.0.0.1:1'\nrequest_timeout = '1s'\nhash_queue = 7\njoin = ['a:1', 'b:2']";
    let environment =
        [("CONCLAVE_HTTP_LISTEN", "127.0.0.1:2"), ("CONCLAVE_REQUEST_TIMEOUT", "2s"), ("PATH", "/bin")];
    let config = load(none().with("http_listen", Some("127.0.0.1:3")), file, &environment).unwrap();
    assert_eq!(config.http_listen.port(), 3);
    assert_eq!(config.request_timeout, Duration::from_secs(2));
    assert_eq!(config.hash_queue, 7);
    assert_eq!(config.join, ["a:1", "b:2"]);
    assert_eq!(config.max_connections, 4096);
}

#[test]
fn every_setting_has_a_variable_and_a_default_that_is_accepted() {
    for setting in SETTINGS {
        let variable = format!("CONCLAVE_{}", setting.name.to_ascii_uppercase());
        if let Err(error) = load(none(), "", &[(&variable, setting.default)]) {
            panic!("{variable}: {error}");
        }
    }
}

#[test]
fn names_of_older_systems_are_understood() {
    let secret = "0123456789abcdef0123456789abcdef";
    let environment = [
        ("JWT_SECRET_KEY", secret),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "15"),
        ("ALLOWED_ORIGINS", "https://a.example.com, http://localhost:3000"),
    ];
    let config = load(none(), "access_token_lifetime = '2h'", &environment).unwrap();
    assert_eq!(config.jwt_secret.as_ref().unwrap().expose(), secret);
    assert_eq!(config.access_token_lifetime, Duration::from_mins(15));
    assert_eq!(config.allowed_origins, ["https://a.example.com", "http://localhost:3000"]);
    assert!(!format!("{config:?}").contains(secret));
    // The own name is the stronger one, in whichever order they come.
    for order in [[0, 1], [1, 0]] {
        let both = [("ACCESS_TOKEN_EXPIRE_MINUTES", "15"), ("CONCLAVE_ACCESS_TOKEN_LIFETIME", "30m")];
        let config = load(none(), "", &order.map(|n: usize| both[n])).unwrap();
        assert_eq!(config.access_token_lifetime, Duration::from_mins(30));
    }
}

#[test]
fn variables_that_kubernetes_sets_are_not_ours() {
    let links = [
        ("CONCLAVE_SERVICE_HOST", "10.0.0.1"),
        ("CONCLAVE_SERVICE_PORT", "8080"),
        ("CONCLAVE_SERVICE_PORT_HTTP", "8080"),
        ("CONCLAVE_PORT", "tcp://10.0.0.1:8080"),
        ("CONCLAVE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("CONCLAVE_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("CONCLAVE_HEADLESS_PORT_8080_TCP_PROTO", "tcp"),
        ("CONCLAVE_CONFIG", "x.toml"),
    ];
    assert!(load(none(), "", &links).is_ok());
    assert!(load(none(), "", &[("CONCLAVE_PORTS", "1")]).is_err());
}

/// A line of the file, a variable, and what the error must say.
#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (file, variable, says) in [
        ("htp_listen = 'x'", ("", ""), &["`htp_listen`", "conclave.toml", "did you mean `http_listen`?"][..]),
        ("qqqqqqqqqqqq = 1", ("", ""), &["unknown setting `qqqqqqqqqqqq`"]),
        ("[argon2]\nmemory_kib = 1", ("", ""), &["unknown setting `argon2`"]),
        (
            "",
            ("CONCLAVE_REQUEST_TIMEOT", "1s"),
            &["CONCLAVE_REQUEST_TIMEOT", "did you mean `request_timeout`?"],
        ),
        (
            "",
            ("CONCLAVE_REQUEST_TIMEOUT", "soon"),
            &["`request_timeout`", "CONCLAVE_REQUEST_TIMEOUT", "`soon`", "15m"],
        ),
        ("request_timeout = '1h'", ("", ""), &["between 100ms and 1m"]),
        ("request_timeout = 5", ("", ""), &["`5` is not a duration"]),
        ("hash_queue = 0", ("", ""), &["`0` is not a whole number from 1"]),
        ("hash_queue = -1", ("", ""), &["`-1` is not a whole number"]),
        ("hash_queue = [1]", ("", ""), &["list of strings"]),
        ("hash_queue = ['1', '2']", ("", ""), &["one value, not a list"]),
        ("hash_queue = 1.5", ("", ""), &["must be a string, a number"]),
        ("http_listen = '8080'", ("", ""), &["address with a port"]),
        ("join = ['host']", ("", ""), &["`host` is not host:port"]),
        ("public_url = 'iam.example.com'", ("", ""), &["URL like https://"]),
        ("public_url = 'https://x.example.com/path'", ("", ""), &["URL like https://"]),
        ("allowed_hosts = ['*']", ("", ""), &["`allowed_hosts`", "list the names"]),
        ("allowed_origins = ['*']", ("", ""), &["`allowed_origins`", "list the origins"]),
        ("", ("ALLOWED_ORIGINS", "*"), &["`allowed_origins`", "ALLOWED_ORIGINS"]),
        ("allowed_origins = ['app.example.com']", ("", ""), &["origin like https://"]),
        ("tls_key = 'k.pem'", ("", ""), &["needs tls_certificate"]),
        ("tls_certificate = 'c.pem'", ("", ""), &["needs tls_key"]),
        ("log_format = 'xml'", ("", ""), &["neither text nor json"]),
        ("log_level = 'a=b=c'", ("", ""), &["not a level"]),
        ("election_min = '60ms'", ("", ""), &["`election_min`", "twice the heartbeat"]),
        ("election_max = '100ms'", ("", ""), &["`election_max`", "more than election_min"]),
        ("data = 'd'\nkey_file = 'd/key'", ("", ""), &["`key_file`", "inside the data folder"]),
        ("data = 'd'\nkey_file = 'x/../d/../d/key'", ("", ""), &["inside the data folder"]),
        ("key_file = 'conclave-data'", ("", ""), &["inside the data folder"]),
        ("data = '/'", ("", ""), &["root folder"]),
        ("a = 1\nb = = 2", ("", ""), &["conclave.toml, line 2"]),
    ] {
        let environment: Vec<_> = Some(variable).filter(|(name, _)| !name.is_empty()).into_iter().collect();
        let error = load(none(), file, &environment).expect_err(file);
        for says in says {
            assert!(error.contains(says), "{file} {variable:?}: {error}");
        }
    }
    let missing = Config::load(none(), Some("/nowhere/conclave.toml".as_ref()), Vec::new()).unwrap_err();
    assert!(missing.to_string().contains("/nowhere/conclave.toml"), "{missing}");
}

#[test]
fn secrets_are_refused_when_weak_and_never_shown() {
    for (file, says) in [
        ("jwt_secret = 'hunter2'", "has 7 bytes and needs 32"),
        ("jwt_secret = 'hunter2-your-secret-key-change-in-production'", "placeholder"),
        ("jwt_secret = ['hunter2', 'hunter2']", "not a list"),
        ("jwt_secret = hunter2", "line 1"),
        ("encryption_key = 'hunter2'", "is not base64 of 32 bytes"),
        ("encryption_key = 'aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=,'", "is not base64 of 32 bytes"),
        ("jwt_secret = 'hunter2", "line 1"),
    ] {
        let error = load(none(), file, &[]).expect_err(file);
        assert!(error.contains(says), "{file}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_key_is_given_in_one_place() {
    let keys = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=, AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let variable = [("CONCLAVE_ENCRYPTION_KEY", keys)];
    let config = load(none(), "", &variable).unwrap();
    assert_eq!(config.encryption_key.as_ref().unwrap().expose(), keys);
    assert!(!format!("{config:?}").contains("aHVudGVy"));
    let error = load(none(), "key_file = 'kek'", &variable).unwrap_err();
    assert!(error.contains("exclude each other") && !error.contains("aHVudGVy"), "{error}");
    assert!(load(none(), "key_file = 'kek'", &[("CONCLAVE_ENCRYPTION_KEY", "")]).is_ok());
}

#[test]
fn a_link_into_the_data_folder_is_seen_through() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
    let key = folder.path().join("link/key");
    let file = format!("data = '{}'\nkey_file = '{}'", data.display(), key.display());
    assert!(load(none(), &file, &[]).unwrap_err().contains("inside the data folder"));
}

#[test]
fn hosts_are_those_listed_and_the_public_one() {
    let config =
        load(none(), "allowed_hosts = 'a.example.com'\npublic_url = 'https://b.example.com/'", &[]).unwrap();
    assert_eq!(config.hosts().collect::<Vec<_>>(), ["a.example.com", "b.example.com"]);
    assert_eq!(config.base_url(), "https://b.example.com");
    assert_eq!(config.log_format, LogFormat::Text);
}
