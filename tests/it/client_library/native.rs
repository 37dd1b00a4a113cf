//! Every operation of the native API has a method, and the method reads what real nodes answer.

use std::time::Duration;

use conclave::api::Api;
use conclave::auth::kek::Kek;
use conclave::client::native::{
    AccountState, ApiKeyStatus, AuditQuery, JoinTokenState, LockoutRule, NewAccount, NewAdmin, NewApiKey,
    NewJoinToken, NewRole, NewServiceAccount, NewUser, NodeRole, Principal, PrincipalKind, Question,
    RoleChanges, SealingRole, ServiceStatus, SessionRefresh, SettingsChanges, Setup, SignInMethod, Step,
    Trail, Transaction, UserChanges, UserStatus, WorkflowQuestion,
};
use conclave::client::{Client, Consistency, Error, Session};

use super::relay::Relay;
use super::{account_of, urls};
use crate::harness::{NEW_PASSWORD, PASSWORD, World, unique};

/// Operations of the native API that the library leaves to others, with the reason.
///
/// Bodies that do not fit into memory, with a file at one end, are the program's: `conclave backup`.
const WITHOUT_METHOD: [&str; 2] = ["GET /v1/cluster/backup", "POST /v1/cluster/accounts/{account}/restore"];

#[tokio::test]
async fn every_operation_has_a_method_that_works() {
    let relay = Relay::to(World::node(0).http_address()).await;
    let client = Client::builder([relay.url()]).attempt_timeout(Duration::from_secs(30)).build().unwrap();
    let email = format!("library-{}@stories.test", unique());
    let new = NewAccount { first_name: Some("Ada".to_owned()), ..NewAccount::new(&email, PASSWORD) };
    let opened = client.open_account(&new).await.unwrap().value;
    assert_eq!(opened.account.state, AccountState::Open);
    assert!(opened.root.is_root && opened.root.status == UserStatus::Active);
    let root = Session::new(&client, client.sign_in_as_root(&email, PASSWORD).await.unwrap().value);
    let account = root.account();
    assert_eq!(account.show().await.unwrap().root, opened.root.id);
    assert_eq!(account.jwks().await.unwrap().keys.len(), 1);
    account.rotate_signing_key().await.unwrap();

    let roles = account.roles();
    let made = roles.create(&NewRole::named("reader").permission("orders:read")).await.unwrap();
    let changes = RoleChanges { description: Some("reads".to_owned()), ..RoleChanges::default() };
    let changed = roles.update("reader", &changes).if_match(made.tag.unwrap()).await.unwrap();
    assert_eq!(changed.description.as_deref(), Some("reads"));
    assert_eq!(roles.get("reader").await.unwrap().tag, changed.tag);
    roles.create(&NewRole::named("gone")).await.unwrap();
    roles.delete("gone").await.unwrap();
    assert_eq!(roles.list().first().await.unwrap().items.len(), 1);

    people(&client, &root).await;
    programs(&root).await;

    let records = account.audit().list(0, Some(3)).await.unwrap().value.items;
    assert_eq!(records.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    let of_users = AuditQuery { action: Some("user.*".to_owned()), limit: Some(2), ..AuditQuery::default() };
    let found = account.audit().search(&of_users).await.unwrap().value;
    assert!(found.items.iter().all(|record| record.action.starts_with("user.")) && found.next.is_some());
    assert!(account.audit().head(Trail::Acts).await.unwrap().sequence >= 3);
    let refused = client.cluster_status("not the operator's".to_owned()).await.unwrap_err();
    assert_eq!(refused.code(), Some("not_operator"));
    let operator = Kek::read_file(World::key_file()).unwrap().operator_token().expose().clone();
    let keys = client.key_status(operator.clone()).await.unwrap();
    assert_eq!((keys.keys[0].role, keys.outdated), (SealingRole::Seals, 0));
    assert_eq!(client.reload_keys(operator.clone()).await.unwrap().value.now.keys, keys.value.keys);
    let reports = client.node_reports(operator.clone()).await.unwrap().value;
    assert!(reports.reports.len() == 3 && reports.reports.iter().all(|report| report.silent.is_none()));
    let status = client.cluster_status(operator).await.unwrap();
    assert_eq!((status.node, status.members.len()), (1, 3));
    assert!(status.role != NodeRole::Unknown && status.members.iter().all(|member| member.is_voter));
    assert_eq!((status.voters, status.refused.as_deref()), (3, None));
    of_operators(&client).await;
    root.sign_out().await.unwrap();

    let asked = relay.asked();
    let missing: Vec<&str> = Api::routes()
        .iter()
        .filter(|route| route.pattern.starts_with("/v1/") && !WITHOUT_METHOD.contains(&route.name))
        .filter(|route| !asked.iter().any(|asked| fits(asked, route.method, route.pattern)))
        .map(|route| route.name)
        .collect();
    assert!(missing.is_empty(), "operations without a method in conclave::client: {missing:#?}");
}

async fn of_operators(client: &Client) {
    let operator = || Kek::read_file(World::key_file()).unwrap().operator_token().expose().clone();
    let accounts = client.accounts(operator(), None).await.unwrap().value.items;
    assert_eq!((accounts[0].id.as_str(), accounts[0].owner.as_str()), ("000000000001", "cluster"));
    let head = client.cluster_audit_head(operator()).await.unwrap();
    assert!(head.sequence > 0);
    let query = AuditQuery { action: Some("cluster.install-secrets".to_owned()), ..AuditQuery::default() };
    assert_eq!(client.cluster_audit(operator(), &query).await.unwrap().items[0].by, "system");
    let username = format!("admin-{}", unique());
    let password = PASSWORD.to_owned().into();
    let made =
        client.create_admin(operator(), &NewAdmin { username: username.clone(), email: None, password });
    assert_eq!(made.await.unwrap().username, username);
    of_nodes(client).await;
}

/// The cluster is shared, so what would change its members is asked about a node that it does not have.
async fn of_nodes(client: &Client) {
    let operator = || Kek::read_file(World::key_file()).unwrap().operator_token().expose().clone();
    let same = client.promote_member(operator(), 1).await.unwrap().value;
    assert_eq!((same.changed, same.voters), (false, 3));
    for refused in [
        client.demote_member(operator(), NOBODY).await,
        client.replace_member(operator(), NOBODY, 1).await,
        client.remove_member(operator(), NOBODY).await,
        client.step_down(operator(), Some(NOBODY)).await,
    ] {
        assert_eq!(refused.unwrap_err().status(), Some(409));
    }
    let rotated = client.rotate_node_certificate(operator(), 2).await.unwrap().value;
    let all = client.node_certificates(operator()).await.unwrap().value.certificates;
    let listed = all.iter().find(|each| each.serial == rotated.serial).unwrap();
    assert_eq!((listed.node, listed.revoked_at), (2, None));
    let unknown = client.revoke_node_certificates(operator(), NOBODY).await.unwrap_err();
    assert_eq!(unknown.status(), Some(404));

    let new = NewJoinToken { expires_in_s: Some(60), learner: true, replaces: None };
    let made = client.create_join_token(operator(), &new).await.unwrap().value;
    assert!(made.token.expose().starts_with("cj1_"));
    assert_eq!(made.addresses.len(), 3);
    let kept = client.join_tokens(operator()).await.unwrap().value.tokens;
    let listed = kept.iter().find(|kept| kept.id == made.id).unwrap();
    assert_eq!((listed.state, listed.role.as_str()), (JoinTokenState::Open, "learner"));
    client.revoke_join_token(operator(), made.id).await.unwrap();
    assert_eq!(client.revoke_join_token(operator(), made.id).await.unwrap_err().status(), Some(404));

    // There is an administrator by now.
    assert_eq!(client.offer_setup(operator()).await.unwrap_err().status(), Some(409));
    let setup = Setup {
        secret: "none".to_owned().into(),
        username: "late".to_owned(),
        email: None,
        password: PASSWORD.to_owned().into(),
    };
    assert_eq!(client.set_up(&setup).await.unwrap_err().status(), Some(401));
}

/// No node of the shared cluster.
const NOBODY: u64 = 99;

/// Whether a request line is one of this route.
fn fits(asked: &str, method: &str, pattern: &str) -> bool {
    let (asked_method, path) = asked.split_once(' ').unwrap();
    let path = path.split('?').next().unwrap();
    let (path, pattern): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), pattern.split('/').collect());
    let word_fits = |(word, pattern): (&&str, &&str)| pattern.starts_with('{') || word == pattern;
    asked_method == method && path.len() == pattern.len() && path.iter().zip(&pattern).all(word_fits)
}

async fn people(client: &Client, root: &Session) {
    let (account, ann) = (root.account(), Principal::user("ann"));
    let (users, memberships) = (account.users(), account.memberships());
    let made = users.create(&NewUser::named("ann", PASSWORD)).await.unwrap();
    let changes = UserChanges { first_name: Some("Ann".to_owned()), ..UserChanges::default() };
    let changed = users.update("ann", &changes).if_match(made.tag.unwrap()).await.unwrap();
    assert_eq!((changed.id, changed.first_name.as_deref()), (made.id, Some("Ann")));
    let stale = users.update("ann", &changes).if_match(made.tag.unwrap()).await.unwrap_err();
    assert_eq!((stale.status(), stale.code()), (Some(412), Some("precondition_failed")));
    assert!(stale.refusal().unwrap().request_id.is_some());
    assert!(memberships.assign(&ann, "reader").await.unwrap().changed);
    assert!(!memberships.assign(&ann, "reader").await.unwrap().changed);
    assert_eq!(memberships.roles(&ann).await.unwrap().items, ["reader"]);
    assert_eq!(memberships.permissions(&ann).await.unwrap().items, ["orders:read"]);
    let members = memberships.members("reader").all().await.unwrap();
    assert_eq!((members[0].kind, members[0].id), (PrincipalKind::User, made.id));

    let checks = account.checks();
    let question = Question::of_user("ann", "orders:read");
    assert!(
        checks.one(&question).await.unwrap().allowed && checks.in_query(&question).await.unwrap().allowed
    );
    let both = [question, Question::of_user("ann", "orders:write")];
    let verdicts = checks.many(&both).await.unwrap().value;
    assert_eq!(verdicts.iter().map(|verdict| verdict.allowed).collect::<Vec<_>>(), [true, false]);
    let holders = checks.who_can("orders:read").await.unwrap().value;
    assert_eq!((holders.items[0].role.as_str(), holders.truncated), ("reader", false));
    assert!(checks.may_i("anything").await.unwrap());
    let steps = ["orders:read", "orders:write"].map(str::to_owned);
    let question =
        WorkflowQuestion { user: Some("ann".to_owned()), service_account: None, steps: steps.to_vec() };
    let run = checks.run(&question).await.unwrap().value;
    assert_eq!((run.can_run, run.stopped_by.as_deref()), (false, Some("orders:write")));
    let runners = checks.who_can_run(&steps[..1]).await.unwrap().value;
    assert_eq!((runners.items[0].id, runners.truncated), (made.id, false));

    let tokens = account.sign_in("ann", PASSWORD).await.unwrap().value;
    let own = Session::new(client, tokens.clone());
    own.account().users().change_password(PASSWORD, "another long password").await.unwrap();
    account.replace_password("ann", "another long password", NEW_PASSWORD).await.unwrap();
    let weak = account.replace_password("ann", NEW_PASSWORD, "sunshine1").await.unwrap_err();
    assert_eq!((weak.status(), weak.code()), (Some(400), Some("weak_password")));
    let judged = account.password_strength("sunshine1", &["ann"]).await.unwrap().value;
    assert_eq!((judged.score, judged.breaches[0].code.as_str()), (1, "common"));
    assert!(account.password_strength(PASSWORD, &[]).await.unwrap().breaches.is_empty());
    users.set_password("ann", PASSWORD).await.unwrap();
    let settings = account.settings().await.unwrap();
    let lockout = Some(LockoutRule { failures: 7, ..settings.lockout });
    let other = SettingsChanges { lockout, ..SettingsChanges::default() };
    assert_eq!(account.change_settings(&other).await.unwrap().lockout.failures, 7);
    assert!(!users.lockout("ann").await.unwrap().locked);
    users.unlock("ann").await.unwrap();
    let tokens = account.sign_in("ann", PASSWORD).await.unwrap().value;
    let sessions = account.sessions();
    let listed = sessions.list(&ann).await.unwrap().value.items;
    let one = listed.iter().find(|one| one.id == tokens.session).unwrap();
    assert_eq!((one.method, one.refresh), (SignInMethod::Password, SessionRefresh::Rotating));
    let refreshed = account.tokens().refresh(tokens.refresh_token.unwrap()).await.unwrap().value;
    let told = account.tokens().introspect(refreshed.access_token.clone()).await.unwrap();
    assert_eq!((told.active, told.username.as_deref()), (true, Some("ann")));
    assert!(!account.tokens().introspect("junk".to_owned()).await.unwrap().active);
    sessions.end(tokens.session).await.unwrap();
    assert!(!account.tokens().validate(refreshed.access_token.clone()).await.unwrap().valid);
    account.tokens().revoke(refreshed.access_token).await.unwrap();
    sessions.end_all(&ann).await.unwrap();

    assert!(memberships.unassign(&ann, "reader").await.unwrap().changed);
    assert_eq!(users.disable("ann").await.unwrap().status, UserStatus::Disabled);
    assert_eq!(users.enable("ann").await.unwrap().status, UserStatus::Active);
    let transaction = Transaction::default()
        .when("users/ann", users.get("ann").await.unwrap().tag.unwrap())
        .when("roles/writer", 0)
        .then(Step::CreateRole(NewRole::named("writer").permission("orders:write")))
        .then(Step::CreateUser(NewUser::named("bob", PASSWORD)))
        .then(Step::AssignRole { principal: ann.clone(), role: "writer".to_owned() })
        .then(Step::UpdateUser { user: "ann".to_owned(), changes })
        .then(Step::EndSessions { principal: ann });
    let committed = account.commit(&transaction).await.unwrap();
    assert_eq!(committed.value.revision, committed.revision);
    let bob = committed.results[1].id.unwrap();
    assert_eq!(users.get(bob).await.unwrap().name.as_deref(), Some("bob"));
    users.delete(bob).await.unwrap();
    assert_eq!(users.list().limit(1).all().await.unwrap().len(), 2);
}

async fn programs(root: &Session) {
    let (account, robot) = (root.account(), Principal::service("robot"));
    let services = account.service_accounts();
    let made = services.create(&NewServiceAccount::named("robot").role("reader")).await.unwrap().value;
    assert_eq!(services.get("robot").await.unwrap().id, made.service.id);
    assert_eq!(services.list().all().await.unwrap(), std::slice::from_ref(&made.service));
    let new = NewApiKey { label: Some("second".to_owned()), expires_in: Some(60) };
    let second = services.create_key("robot", &new).await.unwrap().value;
    services.revoke_key("robot", second.key_id).await.unwrap();
    let keys = services.keys("robot").await.unwrap().value.items;
    let status = |id| keys.iter().find(|key| key.id == id).unwrap().status;
    assert_eq!(status(made.key.key_id), ApiKeyStatus::Active);
    assert_eq!(status(second.key_id), ApiKeyStatus::Revoked);
    let key = made.key.api_key;
    account.sign_in_with_key(Some("robot"), key).await.unwrap();
    let memberships = account.memberships();
    assert_eq!(memberships.roles(&robot).await.unwrap().items, ["reader"]);
    assert_eq!(memberships.permissions(&robot).await.unwrap().items, ["orders:read"]);
    assert!(memberships.unassign(&robot, "reader").await.unwrap().changed);
    assert!(memberships.assign(&robot, "reader").await.unwrap().changed);
    assert_eq!(account.sessions().list(&robot).await.unwrap().items.len(), 1);
    account.sessions().end_all(&robot).await.unwrap();
    assert_eq!(services.disable("robot").await.unwrap().status, ServiceStatus::Disabled);
    assert_eq!(services.enable("robot").await.unwrap().status, ServiceStatus::Active);
    services.delete("robot").await.unwrap();
}

#[tokio::test]
async fn a_read_says_how_fresh_it_must_be() {
    let client = Client::new(urls()).unwrap();
    let (opened, account) = account_of(&client).await;
    let made = account.roles().create(&NewRole::named("r")).await.unwrap();
    let changes = RoleChanges { add_permissions: vec!["x".to_owned()], ..RoleChanges::default() };
    let changed = account.roles().update("r", &changes).await.unwrap();
    assert!(changed.revision > made.revision);
    for node in urls() {
        let one = Client::new([node]).unwrap();
        let tokens = one.sign_in_as_root(&opened.email, PASSWORD).await.unwrap().value;
        let roles = Session::new(&one, tokens).account().roles();
        let then = roles.get("r").consistency(Consistency::AsOf(made.revision)).await.unwrap();
        assert!(then.permissions.is_empty() && then.revision == made.revision);
        let now = roles.get("r").consistency(Consistency::AtLeast(changed.revision)).await.unwrap();
        assert!(now.permissions == ["x"] && now.revision >= changed.revision);
        roles.get("r").consistency(Consistency::Bounded(Duration::from_secs(1))).await.unwrap();
        let ahead = roles.get("r").consistency(Consistency::AsOf(u64::MAX)).await.unwrap_err();
        assert_eq!(ahead.code(), Some("revision_ahead"));
        assert!(ahead.refusal().unwrap().members.contains_key("newest_revision"));
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_sent_and_a_stranger_is_told_so() {
    let relay = Relay::to(World::node(0).http_address()).await;
    let client = Client::new([relay.url()]).unwrap();
    let account = client.account("123456789012").with_token("x".to_owned());
    for name in ["", ".", ".."] {
        let error = account.users().delete(name).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{name}: {error:?}");
    }
    let error = account.users().delete("a").idempotency_key("two\nlines").await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)));
    assert!(relay.asked().is_empty());
    let error = account.users().get("a/../../b").await.unwrap_err();
    assert!(matches!(error.status(), Some(400 | 401 | 404)), "{error:?}");
    // A web page is no answer of the API.
    let docs = Client::new([format!("{}/docs", relay.url())]).unwrap();
    let error = docs.account("123456789012").jwks().await.unwrap_err();
    assert!(matches!(error, Error::Refused(_) | Error::BadAnswer { .. }), "{error:?}");
}
