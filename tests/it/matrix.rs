//! Who may do what, and what answers without a token: two tables under review. A difference fails; run with
//! `CONCLAVE_GOLDEN=write` to write them anew, and read the change.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use conclave::api::Api;
use conclave::auth::kek::Kek;

use crate::harness::{Account, World};
use crate::keystone::Desk;
use crate::requests::{Things, of_keystone};

const CALLERS: [&str; 7] = ["root", "manager", "user", "service", "stranger", "operator", "nobody"];

#[tokio::test]
async fn every_caller_gets_from_every_route_what_the_table_says() {
    let world = World::new();
    let account = world.account().await;
    account.role(&world, "manager", &["iam:*"]).await;
    // Each with the token that such a caller has; nobody has none.
    let tokens = [
        account.token.clone(),
        account.user(&world, "manager", &["manager"]).await.token,
        account.user(&world, "plain", &[]).await.token,
        account.service(&world, "plain", &[]).await.token,
        world.account().await.token,
        Kek::read_file(World::key_file()).unwrap().operator_token().expose().clone(),
    ];
    let mut things = Things::make(&world, &account).await;
    let mut keystone = keystone_tokens(&world, &account, &things).await;
    let mut matrix = format!("{:<72}", "");
    for caller in CALLERS {
        let _ = write!(matrix, " {caller:>8}");
    }
    matrix.push('\n');
    let mut open = String::new();
    let mut routes = Api::routes();
    routes.sort_by_key(|route| (route.pattern, route.method));
    for route in &routes {
        let _ = write!(matrix, "{:<72}", route.name);
        for (index, caller) in CALLERS.into_iter().enumerate() {
            things.renew(&world, route).await;
            let mut sample = things.sample(route);
            // A token says whose account it is of.
            sample.account = sample.account.filter(|_| caller == "nobody");
            let ask = sample.ask(&world, index);
            let tokens = if of_keystone(route) { &keystone } else { &tokens };
            let reply = match tokens.get(index) {
                Some(token) => ask.by(token).await,
                None => ask.await,
            };
            assert!(reply.status < 500, "{} as {caller}: {}", route.name, reply.json);
            let _ = write!(matrix, " {:>8}", reply.status);
            if SPENDING.contains(&route.name) {
                things.keystone = Desk::make(&world, &account).await;
                keystone = keystone_tokens(&world, &account, &things).await;
            }
            // It takes a secret instead of a token, and the sample has no good one.
            let is_open = reply.status != 401 || route.name == "POST /v1/setup";
            if caller == "nobody" && is_open {
                let _ = writeln!(open, "{} {}", route.name, reply.status);
            }
        }
        matrix.push('\n');
    }
    let changed =
        [("matrix.golden", matrix), ("open_routes.golden", open)].map(|(name, now)| differs(name, &now));
    assert!(changed.iter().all(Option::is_none), "{}", changed.into_iter().flatten().collect::<String>());
}

/// What leaves whoever does it without what it came with.
const SPENDING: [&str; 2] = ["POST /api/v1/auth/logout", "POST /api/v1/users/change-password"];

/// The same callers as the token service knows them: the manager has its role `admin`, the user its role `user`. The
/// root user is that of another account, since it may change its password here.
async fn keystone_tokens(world: &World, account: &Account, things: &Things) -> [String; 6] {
    let (rooted, other) = (world.account().await, world.account().await);
    [
        Desk::sign_in(world, &rooted, &rooted.email).await.text("access_token"),
        Desk::login(world, account, &["admin"]).await.access,
        Desk::login(world, account, &["user"]).await.access,
        things.keystone.program_token(world).await,
        Desk::make(world, &other).await.admin.access,
        Kek::read_file(World::key_file()).unwrap().operator_token().expose().clone(),
    ]
}

/// What is no longer as the file says, line by line.
fn differs(name: &str, now: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(name);
    if std::env::var_os("CONCLAVE_GOLDEN").is_some() {
        fs::write(&path, now).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let gone = before
        .lines()
        .filter(|line| !now.lines().any(|other| other == *line))
        .map(|line| format!("- {line}\n"));
    let new = now
        .lines()
        .filter(|line| !before.lines().any(|other| other == *line))
        .map(|line| format!("+ {line}\n"));
    (before != now).then(|| format!("{name}:\n{}{}", gone.collect::<String>(), new.collect::<String>()))
}
