//! Faults of machines that come and go for good.

use std::time::Duration;

use crate::site::Site;

const MEANWHILE: Duration = Duration::from_secs(1);

/// Three nodes become five and three again, one of them killed while the fifth comes in, and the leader is among those
/// who go.
pub(crate) async fn grow_and_shrink(site: &mut Site) {
    let begun = site.begin();
    site.crew.grow().await;
    site.ask_only(site.crew.running());
    let (_, others) = site.leader_and_others().await;
    let token = site.crew.token().await;
    let fifth = site.crew.add();
    site.crew.join(fifth, &token);
    // In the middle of the change.
    site.kill(others[0]);
    site.crew.ready(fifth).await;
    site.revive(others[0]).await;
    site.ask_only(site.crew.running());
    site.crew.voters(5).await;
    site.end(begun);
    site.last(MEANWHILE).await;
    for _ in 0..2 {
        let leader = site.crew.leader().await;
        remove(site, leader).await;
    }
    site.crew.voters(3).await;
}

/// A node loses its disk. It must not come back as what it was, and comes in as another.
pub(crate) async fn wipe(site: &mut Site, machine: usize) {
    let node = site.crew.node(machine).await.to_string();
    site.kill(machine);
    site.crew.wipe(machine);
    site.last(MEANWHILE).await;
    let begun = site.begin();
    let token = site.crew.token().await;
    site.crew.insist(&["remove", &node]).await;
    site.crew.join(machine, &token);
    site.crew.ready(machine).await;
    site.excuse(machine, false);
    site.end(begun);
    assert_ne!(site.crew.node(machine).await.to_string(), node, "under a number of its own");
}

/// Takes a node out for good, as an operator does, by asking any of the others.
async fn remove(site: &mut Site, machine: usize) {
    let node = site.crew.node(machine).await;
    let rest: Vec<usize> = site.crew.running().into_iter().filter(|other| *other != machine).collect();
    site.ask_only(rest.clone());
    site.excuse(machine, true);
    let begun = site.begin();
    site.crew.insist(&["remove", &node.to_string()]).await;
    site.crew.gone(&rest, node).await;
    site.crew.kill(machine);
    site.last(MEANWHILE).await;
    site.end(begun);
}
