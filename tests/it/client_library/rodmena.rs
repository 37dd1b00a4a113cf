//! RODMENA's verbs against a small server that answers as contract part 3 says, over real TCP.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use conclave::client::rodmena::{AuthClient, NewApiKey};
use conclave::client::workflow::{Row, Watch};
use conclave::client::{Client, Error};
use conclave::secret::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::PATIENCE;

const KEY: &str = "4b3f6b1e-6a1c-4b58-9f5c-8f1f3a1b2c3d";

/// What came: method and path, `Authorization`, body.
type Asked = (String, String, String);

/// Answers each path as it is told to.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(answer: fn(&str, &str) -> (u16, Value)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), answer));
            }
        });
        Self { url, asked, task }
    }

    fn client(&self) -> AuthClient {
        AuthClient::new(KEY, [self.url.clone()]).unwrap()
    }

    /// What came since the last time.
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    log: Arc<Mutex<Vec<Asked>>>,
    answer: fn(&str, &str) -> (u16, Value),
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut length, mut proof) = (String::new(), 0, String::new());
        stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.ok()?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            match name.to_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => value.clone_into(&mut proof),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let body = String::from_utf8(body).unwrap();
        let asked = line.trim_end().strip_suffix(" HTTP/1.1").unwrap().to_owned();
        let (status, json) = answer(&asked, &body);
        log.lock().unwrap().push((asked, proof, body));
        let json = json.to_string();
        let reply = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        );
        stream.write_all(reply.as_bytes()).await.ok()?;
    }
}

fn envelope(data: &Value) -> Value {
    json!({"success": true, "code": 200, "message": "ok", "data": data, "timestamp": "2026-11-22T03:55:33.734497"})
}

/// The seed's verbs (contract part 3.2).
fn of_the_seed(asked: &str, _: &str) -> (u16, Value) {
    let member = json!({"user": "john_doe", "role": "admin"});
    let body = match asked {
        "GET /ping" => json!({"message": "PONG"}),
        "POST /api/role/admin"
        | "POST /api/permission/admin/manage_users"
        | "GET /api/permission/admin/manage_users"
        | "DELETE /api/permission/admin/manage_users"
        | "POST /api/membership/john%40example.com/admin"
        | "DELETE /api/membership/john_doe/admin" => json!({"result": true}),
        "POST /api/membership/john_doe/unknown" => json!({"result": false}),
        "DELETE /api/role/admin" => envelope(&json!({"result": true})),
        "GET /api/roles" => json!({"result": [{"role": "admin", "description": null}]}),
        "GET /api/role_permissions/admin" => envelope(&json!([{"name": "manage_users"}])),
        "GET /api/membership/john_doe/admin"
        | "GET /api/has_permission/john_doe/manage_users"
        | "GET /api/workflow/user/john_doe/can_run/deploy" => envelope(&json!({"has_permission": true})),
        "GET /api/user_roles/john_doe"
        | "GET /api/members/admin"
        | "GET /api/which_users_can/manage_users" => {
            json!({"result": [member]})
        }
        "GET /api/user_permissions/john_doe" => {
            envelope(&json!({"count": 1, "permissions": [{"name": "manage_users"}]}))
        }
        "GET /api/which_roles_can/manage_users" => json!({"result": [{"role": "admin"}]}),
        "GET /api/workflow/users/deploy" => {
            let second = json!({"user": "john_doe", "role": "operator"});
            let other = json!({"user": "ann", "role": "operator"});
            envelope(&json!({"count": 3, "members": [member, second, other]}))
        }
        "GET /api/has_permission/bad%20name/x" => {
            let body = json!({"success": false, "code": 400, "message": "Invalid user", "details": {}, "timestamp": "t"});
            return (400, body);
        }
        _ => return (404, json!("there is no such path")),
    };
    (200, body)
}

#[tokio::test]
async fn every_verb_of_the_seed_asks_and_reads_as_the_contract_says() {
    let server = Server::start(of_the_seed).await;
    let client = server.client();
    assert_eq!(client.ping().await.unwrap(), "PONG");
    assert_eq!(server.asked()[0].1, "", "no key where none is asked for");
    assert!(client.create_role("admin").await.unwrap());
    assert!(client.add_permission("admin", "manage_users").await.unwrap());
    assert!(client.has_permission("admin", "manage_users").await.unwrap());
    assert!(client.add_membership("john@example.com", "admin").await.unwrap());
    assert!(!client.add_membership("john_doe", "unknown").await.unwrap(), "a false is no error");
    assert!(client.has_membership("john_doe", "admin").await.unwrap());
    assert!(client.user_has_permission("john_doe", "manage_users").await.unwrap());
    assert!(client.check_user_workflow_permission("john_doe", "deploy").await.unwrap());
    assert_eq!(client.get_user_permissions("john_doe").await.unwrap(), ["manage_users"]);
    assert_eq!(client.get_role_permissions("admin").await.unwrap(), ["manage_users"]);
    assert_eq!(client.which_roles_can("manage_users").await.unwrap(), ["admin"]);
    assert_eq!(client.list_roles().await.unwrap()[0].role, "admin");
    for members in [
        client.get_user_roles("john_doe").await.unwrap(),
        client.get_role_members("admin").await.unwrap(),
        client.which_users_can("manage_users").await.unwrap(),
    ] {
        assert_eq!((members[0].user.as_str(), members[0].role.as_str()), ("john_doe", "admin"));
    }
    assert_eq!(client.get_users_for_workflow("deploy").await.unwrap().len(), 3);
    assert!(client.remove_permission("admin", "manage_users").await.unwrap());
    assert!(client.remove_membership("john_doe", "admin").await.unwrap());
    assert!(client.delete_role("admin").await.unwrap());
    for (asked, proof, body) in server.asked() {
        assert_eq!((proof, body.as_str()), (format!("Bearer {KEY}"), ""), "{asked}");
    }
    let refused = client.user_has_permission("bad name", "x").await.unwrap_err();
    let told = refused.refusal().unwrap();
    assert_eq!((told.status, told.code.as_str(), told.detail.as_str()), (400, "http_400", "Invalid user"));
    assert!(!format!("{client:?}").contains(KEY));
}

/// The 3.x additions (contract part 3.4).
fn of_3x(asked: &str, body: &str) -> (u16, Value) {
    let id = Uuid::nil();
    let entry = json!({
        "key_id": id, "key_prefix": "rak_01234567", "label": "ci", "is_active": true, "created": "2026-11-22T03:55:33",
        "revoked_at": null, "expires_at": "2027-01-01T00:00:00", "last_used_at": null,
    });
    let made = json!({
        "api_key": "rak_secret", "key_id": id, "user": "ann", "label": "ci", "key_prefix": "rak_01234567",
        "created": "2026-11-22T03:55:33", "expires_at": null,
    });
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let answer = match asked {
        "GET /api/settings" => envelope(&json!({"strict_users": false})),
        "PUT /api/settings" => envelope(&body),
        "POST /api/apikeys/user/ann" if body == json!({"label": "ci"}) => envelope(&made),
        "GET /api/apikeys/user/ann" => json!({"count": 1, "keys": [entry]}),
        "PATCH /api/apikeys/user/ann/00000000-0000-0000-0000-000000000000" => entry,
        "DELETE /api/apikeys/user/ann/00000000-0000-0000-0000-000000000000" => {
            json!({"revoked": true, "already_revoked": false})
        }
        "POST /api/apikeys/validate" if body == json!({"api_key": "rak_secret"}) => {
            json!({"valid": true, "user": "ann", "key_id": id, "label": "ci", "expires_at": null})
        }
        "POST /api/apikeys/validate" => json!({"valid": false, "reason": "unknown_key"}),
        "POST /api/apikeys/check_permission" => {
            json!({"valid": true, "user": "ann", "key_id": id, "has_permission": body["permission"] == "deploy"})
        }
        "POST /api/keys/rotate" => {
            json!({"new_key": "n", "migrated": {"roles": 1, "memberships": 2, "permissions": 3}})
        }
        "POST /api/keys/get_rotate_key" => json!({"rotate_key": "rrk_x"}),
        "POST /api/keys/recover" if body == json!({"rotate_key": "rrk_x"}) => {
            json!({"client_key": "c", "rotate_key": "rrk_y"})
        }
        "GET /api/audit?limit=50&offset=0&action=ADD_MEMBERSHIP" => {
            json!({"total": 1, "limit": 50, "offset": 0,
            "entries": [{"id": 7, "timestamp": "2026-11-22T03:55:33", "action": "ADD_MEMBERSHIP", "resource": "r",
                "details": {}, "success": true, "user": "fpr_1", "ip_address": "::1", "user_agent": "x"}]})
        }
        "POST /api/membership/ann/admin" => {
            return (
                409,
                json!({"result": false, "reason": "user_not_key_backed", "hint": "Give ann a key."}),
            );
        }
        _ => return (404, json!({})),
    };
    (200, answer)
}

#[tokio::test]
async fn every_addition_of_3x_asks_and_reads_as_the_contract_says() {
    let server = Server::start(of_3x).await;
    let client = server.client();
    assert!(!client.get_settings().await.unwrap().strict_users);
    assert!(client.set_strict_users(true).await.unwrap().strict_users);
    let strict = client.add_membership("ann", "admin").await.unwrap_err();
    assert_eq!((strict.status(), strict.code()), (Some(409), Some("user_not_key_backed")));
    let new = NewApiKey { label: Some("ci".to_owned()), ..NewApiKey::default() };
    let made = client.create_api_key("ann", &new).await.unwrap();
    assert_eq!(made.api_key.expose(), "rak_secret");
    assert_eq!(client.list_api_keys("ann").await.unwrap().keys.len(), 1);
    assert!(client.set_api_key_expiry("ann", made.key_id, "2027-01-01T00:00:00").await.unwrap().is_active);
    assert!(client.revoke_api_key("ann", made.key_id).await.unwrap().revoked);
    let good = client.validate_api_key(made.api_key.clone()).await.unwrap();
    assert_eq!((good.valid, good.user.as_deref()), (true, Some("ann")));
    let bad = client.validate_api_key("rak_other".to_owned()).await.unwrap();
    assert_eq!((bad.valid, bad.reason.as_deref()), (false, Some("unknown_key")));
    for (permission, has) in [("deploy", true), ("other", false)] {
        let told = client.check_api_key_permission(made.api_key.clone(), permission).await.unwrap();
        assert_eq!(told.has_permission, Some(has));
    }
    let rotated = client.rotate_key().await.unwrap();
    assert_eq!((rotated.new_key.expose().as_str(), rotated.migrated["memberships"]), ("n", 2));
    let rotate_key = client.get_rotate_key().await.unwrap();
    server.asked();
    let cluster = Client::new([server.url.clone()]).unwrap();
    let recovered = AuthClient::recover(&cluster, rotate_key, None).await.unwrap();
    assert_eq!(
        (recovered.client_key.expose().as_str(), recovered.rotate_key.expose().as_str()),
        ("c", "rrk_y")
    );
    assert_eq!(server.asked()[0].1, "", "who recovers has no key");
    let trail = client.audit(50, 0, Some("ADD_MEMBERSHIP")).await.unwrap();
    assert_eq!((trail.total, trail.entries[0].success), (1, true));
}

#[tokio::test]
async fn a_refusal_trips_nothing_and_a_key_is_not_made_twice() {
    fn unwilling(asked: &str, _: &str) -> (u16, Value) {
        match asked {
            "GET /api/roles" => (200, json!({"result": []})),
            // As a proxy says it: what became of the request is not known.
            "POST /api/apikeys/user/ann" | "POST /api/role/admin" => (503, json!({})),
            _ => (400, json!({"success": false, "message": "no"})),
        }
    }
    let server = Server::start(unwilling).await;
    let client = server.client();
    for _ in 0..20 {
        let error = client.user_has_permission("a", "b").await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
    }
    client.list_roles().await.unwrap();
    server.asked();
    let error = client.create_api_key("ann", &NewApiKey::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotNow { outcome_unknown: true, .. }), "{error:?}");
    assert_eq!(server.asked().len(), 1);
    let error = client.create_role("admin").deadline(Duration::from_secs(1)).await.unwrap_err();
    assert!(error.is_retryable());
    assert!(server.asked().len() > 1, "what is the same twice is tried again");
}

#[tokio::test]
async fn a_watch_tells_each_user_once_and_goes_on_after_a_failure_until_it_is_dropped() {
    let server = Server::start(of_the_seed).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let watch = |client: AuthClient, workflow: &str| {
        let tell = tell.clone();
        Watch::every(Duration::from_millis(20)).start(client, workflow, move |rows| {
            let tell = tell.clone();
            async move {
                // Nobody listens any more at the end of the test.
                let _ = tell.send(rows);
            }
        })
    };
    let watching = watch(server.client(), "deploy");
    for _ in 0..3 {
        let row = |user: &str| Row { user: user.to_owned(), workflow: "deploy".to_owned(), can_run: true };
        assert_eq!(told.recv().await.unwrap().unwrap(), [row("john_doe"), row("ann")]);
    }
    drop(watching);
    // Of another client, that is refused each time.
    let failing =
        watch(AuthClient::with(Client::new([server.url.clone()]).unwrap(), Secret::new(KEY.to_owned())), "x");
    let mut refused = 0;
    while refused < 3 {
        // The dropped one may have told once more before.
        refused += usize::from(told.recv().await.unwrap().is_err());
    }
    drop(failing);
    drop(tell);
    let rest = async { while told.recv().await.is_some() {} };
    timeout(PATIENCE, rest).await.expect("a watch that was dropped goes on");
}
