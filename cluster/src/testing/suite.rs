//! openraft's own suite for stores, on both kinds of ours.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use super::bug::Bug;
use super::disk::SimDisk;
use super::keys::TestKeys;
use super::machine::Names;
use super::random::Random;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::log::LogDevice;
use crate::log::disk::DiskLog;
use crate::raft::Types;
use crate::raft::log_store::LogStore;
use crate::raft::machine_store::MachineStore;
use crate::seal::Vault;
use crate::state::{Disk, Folder, Limits, MemoryDisk, Store};

struct Real;
struct Simulated;

fn stores(log: Arc<dyn LogDevice>, disk: &Disk) -> (LogStore, MachineStore) {
    let (store, _) = Store::open(disk, Arc::new(Names), Limits::default()).unwrap();
    let durability = store.durability();
    let durable = Arc::new(move || durability.borrow().durable.map(|position| position.index));
    (LogStore::new(log, durable), MachineStore::new(store))
}

impl StoreBuilder<Types, LogStore, MachineStore, TempDir> for Real {
    async fn build(&self) -> Result<(TempDir, LogStore, MachineStore), StorageError<Types>> {
        let folder = TempDir::new().unwrap();
        let owner = Identity { cluster: ClusterId::from_random([7; 16]), node: NodeId(1) };
        let vault = Arc::new(Vault::new(folder.path(), owner, Arc::new(TestKeys::new(&[1]))));
        let log = Arc::new(DiskLog::open(&folder.path().join("log"), &vault).unwrap());
        let mut disk = Folder::new(folder.path().join("state"), vault);
        disk.cache_bytes = 1 << 20;
        let (log, machine) = stores(log, &Disk::Folder(disk));
        Ok((folder, log, machine))
    }
}

impl StoreBuilder<Types, LogStore, MachineStore, ()> for Simulated {
    async fn build(&self) -> Result<((), LogStore, MachineStore), StorageError<Types>> {
        let log = Arc::new(SimDisk::new(Random::new(1), Bug::None).open());
        let (log, machine) = stores(log, &Disk::Memory(MemoryDisk::prompt()));
        Ok(((), log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_on_disk_keep_openrafts_rules() {
    Suite::test_all(Real).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn simulated_stores_keep_openrafts_rules() {
    Suite::test_all(Simulated).await.unwrap();
}
