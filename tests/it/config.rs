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
        let variable = setting.variable();
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
        ("JWT_ALGORITHM", "HS256"),
        ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", "1440"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "20"),
        ("REFRESH_TOKEN_EXPIRE_DAYS", "31"),
        ("PASSWORD_MIN_LENGTH", "12"),
        ("ALLOWED_ORIGINS", r#"["http://localhost:3000","https://yourdomain.com"]"#),
        ("RATE_LIMIT_LOGIN", "6/minute"),
        ("RATE_LIMIT_API", "200/minute"),
        ("RATE_LIMIT_DEFAULT", "500 per hour"),
        ("SERVER_HOST", "0.0.0.0"),
        ("PORT", "8000"),
        ("DEBUG", "False"),
        ("ENABLE_ENCRYPTION", "true"),
        ("ALLOW_CORS", "true"),
        ("REDIS_URL", ""),
    ];
    let config = load(none(), "access_token_lifetime = '2h'", &environment).unwrap();
    assert_eq!(config.jwt_secret.as_ref().unwrap().expose(), secret);
    assert!(!format!("{config:?}").contains(secret));
    assert_eq!(config.access_token_lifetime, Duration::from_hours(24));
    assert_eq!(config.keystone.access_token_lifetime, Duration::from_mins(20));
    assert_eq!(config.keystone.refresh_token_lifetime, Duration::from_hours(31 * 24));
    assert_eq!(config.keystone.password_min_length, 12);
    assert_eq!(config.allowed_origins, ["http://localhost:3000", "https://yourdomain.com"]);
    let rates = [config.limits.login, config.limits.api, config.limits.default];
    assert_eq!(rates.map(|rate| rate.unwrap().to_string()), ["6 per 1m", "200 per 1m", "500 per 1h"]);
    assert_eq!(config.http_listen.to_string(), "0.0.0.0:8000");
    assert_eq!(config.notices, [""; 0]);
    // The own name is the stronger one, in whichever order they come.
    for order in [[0, 1], [1, 0]] {
        let both = [("REFRESH_TOKEN_EXPIRE_DAYS", "1"), ("CONCLAVE_KEYSTONE_REFRESH_TOKEN_LIFETIME", "3d")];
        let config = load(none(), "", &order.map(|n: usize| both[n])).unwrap();
        assert_eq!(config.keystone.refresh_token_lifetime, Duration::from_hours(72));
    }
}

#[test]
fn hosts_and_ports_of_older_systems_give_the_listening_address() {
    for (file, environment, listens) in [
        ("", &[("HOST", "::1")][..], "[::1]:8080"),
        ("", &[("HOST", "localhost"), ("SERVER_PORT", "4000")], "127.0.0.1:4000"),
        ("", &[("PORT", "4000"), ("SERVER_PORT", "4000")], "127.0.0.1:4000"),
        ("", &[("PORT", "1"), ("CONCLAVE_HTTP_LISTEN", "127.0.0.1:2")], "127.0.0.1:2"),
        // Names as common as these do not get past a settings file, nor spoil it.
        ("http_listen = '127.0.0.1:3'", &[("PORT", "1"), ("HOST", "some-machine")], "127.0.0.1:3"),
    ] {
        let config = load(none(), file, environment).unwrap();
        assert_eq!(config.http_listen.to_string(), listens, "{environment:?}");
    }
}

#[test]
fn variables_without_a_use_are_known_and_said_once_without_their_values() {
    let environment = [
        ("DATABASE_URL", "postgresql+asyncpg://keystone:hunter2@localhost:5432/keystone"),
        ("POSTGRESQL_URL", "postgresql://username:hunter2@localhost:5432/auth_db"),
        ("AUTH_DB_TYPE", "hunter2"),
        ("AUTH_DB_PATH", "~/.hunter2"),
        ("REDIS_URL", "redis://:hunter2@localhost:6379/0"),
        ("RATELIMIT_STORAGE_URL", "redis://hunter2:6379"),
        ("ENCRYPTION_KEY", "hunter2"),
        ("ENABLE_ENCRYPTION", "false"),
        ("DEBUG", "hunter2"),
        ("JWT_ALGORITHM", "HS256"),
        ("ALLOW_CORS", "true"),
    ];
    let config = load(none(), "", &environment).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    for (variable, _) in environment {
        let said =
            config.notices.iter().filter(|notice| notice.contains(&format!("variable {variable} has")));
        assert_eq!(said.count(), 1, "{variable}: {:?}", config.notices);
    }
    assert_eq!(config.notices.len(), environment.len());
}

#[test]
fn older_systems_that_disagree_are_told_so() {
    for (environment, says) in [
        (
            &[("HOST", "0.0.0.0"), ("SERVER_HOST", "127.0.0.1")][..],
            &["http_listen", "HOST", "SERVER_HOST"][..],
        ),
        (&[("PORT", "8000"), ("SERVER_PORT", "4000")], &["http_listen", "variable PORT", "SERVER_PORT"]),
        (
            &[("ALLOWED_ORIGINS", "https://a.test"), ("CORS_ORIGINS", "*")],
            &["allowed_origins", "ALLOWED_ORIGINS", "CORS_ORIGINS"],
        ),
        (&[("HOST", "some-machine")], &["`http_listen`", "variable HOST", "some-machine"]),
        (&[("SERVER_PORT", "0x50")], &["`http_listen`", "SERVER_PORT", "not a port"]),
        (&[("ALLOW_CORS", "maybe")], &["ALLOW_CORS", "neither true nor false"]),
        (&[("JWT_ALGORITHM", "none")], &["JWT_ALGORITHM", "`none`"]),
        (
            &[("JWT_ALGORITHM", "EdDSA"), ("JWT_SECRET_KEY", "0123456789abcdef0123456789abcdef")],
            &["JWT_ALGORITHM", "one of the two"],
        ),
        (&[("RATE_LIMIT_LOGIN", "often")], &["`rate_limit_login`", "RATE_LIMIT_LOGIN", "5/minute"]),
        (&[("PASSWORD_MIN_LENGTH", "4")], &["PASSWORD_MIN_LENGTH", "from 8"]),
    ] {
        let error = load(none(), "", environment).expect_err("two of one");
        for says in says {
            assert!(error.contains(says), "{environment:?}: {error}");
        }
    }
    let own = [("PORT", "8000"), ("SERVER_PORT", "4000"), ("CONCLAVE_HTTP_LISTEN", "127.0.0.1:1")];
    assert_eq!(load(none(), "", &own).unwrap().http_listen.port(), 1);
    let off = [("ALLOW_CORS", "false"), ("CORS_ORIGINS", "*")];
    assert!(load(none(), "allowed_origins = 'https://a.test'", &off).unwrap().allowed_origins.is_empty());
}

#[test]
fn limits_and_doors_have_the_documented_defaults() {
    let config = load(none(), "", &[]).unwrap();
    let limits = config.limits;
    let together = [limits.login, limits.refresh, limits.service, limits.register];
    let text = |rate: Option<conclave::rate::Rate>| rate.map_or("off".to_owned(), |rate| rate.to_string());
    assert_eq!(together.map(text), ["5 per 1m", "10 per 1m", "20 per 1m", "3 per 1h"]);
    assert_eq!([limits.native, limits.api, limits.default].map(text), ["off", "100 per 1m", "off"]);
    assert!(config.doors.sign_up && config.doors.registration && config.doors.key_accounts);
    assert!(config.keystone.admin.is_none() && config.trusted_proxies.is_empty());
    assert_eq!(config.keystone.access_token_lifetime, Duration::from_mins(15));
    let file = "sign_up = false\nrate_limit_login = 'off'\nbootstrap_admin_username = 'admin'\n\
                trusted_proxies = ['10.0.0.0/8', '::1']";
    let config = load(none(), file, &[("CONCLAVE_BOOTSTRAP_ADMIN_PASSWORD", "hunter2")]).unwrap();
    assert!(!config.doors.sign_up && config.limits.login.is_none());
    assert_eq!(config.keystone.admin.as_ref().unwrap().password.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.trusted_proxies[0].contains("10.9.9.9".parse().unwrap()));
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
        ("", ("ALLOWED_ORIGINS", "[\"https://a.test\""), &["`allowed_origins`", "not a JSON list"]),
        ("trusted_proxies = ['10.0.0.1/8']", ("", ""), &["`trusted_proxies`", "10.0.0.0/8"]),
        ("rate_limit_api = '5/fortnight'", ("", ""), &["`5/fortnight` is not a rate like 5/minute"]),
        ("sign_up = 'perhaps'", ("", ""), &["neither on nor off"]),
        ("bootstrap_admin_username = 'a'", ("", ""), &["needs bootstrap_admin_password"]),
        ("bootstrap_admin_password = 'a'", ("", ""), &["needs bootstrap_admin_username"]),
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
