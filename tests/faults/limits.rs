//! Faults of machines that are short of something.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::net::run;
use crate::site::Site;

const GROUPS: &str = "/sys/fs/cgroup/cpu";

/// A control group of processes that get a tenth of a processor; removed when dropped.
struct Starved(PathBuf);

impl Starved {
    fn new(pid: u32) -> Self {
        let group = Path::new(GROUPS).join(format!("conclave-faults-{}", std::process::id()));
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cpu.cfs_period_us"), "100000").unwrap();
        fs::write(group.join("cpu.cfs_quota_us"), "10000").unwrap();
        fs::write(group.join("cgroup.procs"), pid.to_string()).unwrap();
        Self(group)
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        let processes = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.split_whitespace() {
            let _ = fs::write(Path::new(GROUPS).join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// Whether a machine can be starved of its processor here.
pub(crate) fn can_starve() -> bool {
    Path::new(GROUPS).join("cpu.cfs_quota_us").exists()
}

/// A machine gets a tenth of a processor for a while.
pub(crate) async fn starve(site: &mut Site, machine: usize, time: Duration) {
    site.excuse(machine, true);
    let starved = Starved::new(site.crew.pid(machine));
    site.last(time).await;
    drop(starved);
    site.excuse(machine, false);
}

/// A machine can open nothing more for a while.
pub(crate) async fn no_descriptors(site: &mut Site, machine: usize, time: Duration) {
    let pid = site.crew.pid(machine).to_string();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let asked = ["--pid", &pid, "--nofile", "--output=SOFT", "--noheadings"];
    let before = Command::new("prlimit").args(asked).output().unwrap();
    let before = String::from_utf8(before.stdout).unwrap().trim().to_owned();
    site.excuse(machine, true);
    run(&["prlimit", "--pid", &pid, &format!("--nofile={open}:")]);
    site.last(time).await;
    run(&["prlimit", "--pid", &pid, &format!("--nofile={before}:")]);
    site.excuse(machine, false);
}
