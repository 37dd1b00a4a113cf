//! What must be so once all faults are gone.

use std::time::Duration;

use tokio::time::Instant;

use super::world::World;
use crate::state::View;

/// Every node serves again, soon. `check` gets what each shows.
pub async fn serves(world: &World, mut check: impl FnMut(&View) -> Result<(), String>) -> Result<(), String> {
    for node in world.running() {
        let view = node.read_barrier(Instant::now() + HEALED).await;
        let view = view.map_err(|error| format!("{:?} does not serve in peace: {error}", node.identity()))?;
        check(&view)?;
    }
    Ok(())
}

/// Every node gets as far as any, and shows the same there: that revision and its digest.
pub async fn agrees(
    world: &World,
    mut check: impl FnMut(&View) -> Result<(), String>,
) -> Result<(u64, u128), String> {
    let soon = Instant::now() + HEALED;
    let last = world.running().iter().map(|node| node.view().revision()).max().unwrap_or_default();
    let mut shown = Vec::new();
    for node in world.running() {
        node.wait_revision(last, soon).await.map_err(|error| format!("waiting for {last}: {error}"))?;
        let view = node.read_barrier(soon).await;
        let view = view.map_err(|error| format!("{:?} stops serving in peace: {error}", node.identity()))?;
        check(&view)?;
        shown.push((view.revision(), view.digest()));
    }
    world.compare()?;
    let first = *shown.first().ok_or("nobody is left")?;
    if shown.iter().any(|other| *other != first) {
        return Err(format!("the nodes end unequal: {shown:?}"));
    }
    Ok(first)
}

/// How long a cluster may take to serve again.
const HEALED: Duration = Duration::from_secs(10);
