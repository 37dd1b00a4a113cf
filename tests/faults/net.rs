//! The network of a cluster under test: a bridge in a namespace of its own, one namespace for each machine, and what
//! is cut, lost, reset or slowed between them.
//!
//! Nothing has a leg in the machine's own network. The runner itself lives in the hub's namespace, so that clients
//! and operators reach every machine by its address, whatever is cut between machines.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where machines answer clients, and each other.
pub(crate) const HTTP: u16 = 8080;
pub(crate) const PEER: u16 = 9080;

/// What all our namespaces are called, with the process id of their owner behind it.
const PREFIX: &str = "conclave-faults-";

/// What happens to a packet between two machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Drop,
    /// So many of a hundred.
    Lose(u8),
    /// The connection is reset, in so many of a hundred.
    Reset(u8),
}

/// The network of one cluster.
#[derive(Debug)]
pub(crate) struct Net {
    owner: u32,
    machines: usize,
}

impl Net {
    /// The namespaces of this owner, whose hub exists.
    pub(crate) fn new(owner: u32) -> Self {
        Self { owner, machines: 0 }
    }

    /// Another machine; gives its number.
    pub(crate) fn add(&mut self) -> usize {
        let number = self.machines;
        let namespace = self.namespace(number);
        let (port, address) = (format!("m{number}"), format!("{}/24", ip(number)));
        run(&["ip", "netns", "add", &namespace]);
        // The cable of the last cluster may still be on its way out.
        let _ = command(&["ip", "link", "del", &port]).output();
        run(&["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        run(&["ip", "link", "set", &port, "master", "bridge", "up"]);
        let inside = ["ip", "-n", &namespace];
        run(&[&inside[..], &["link", "set", "lo", "up"]].concat());
        run(&[&inside[..], &["addr", "add", &address, "dev", "eth0"]].concat());
        run(&[&inside[..], &["link", "set", "eth0", "up"]].concat());
        self.machines += 1;
        number
    }

    pub(crate) fn namespace(&self, machine: usize) -> String {
        format!("{PREFIX}{}-{machine}", self.owner)
    }

    /// A command that runs in the network of a machine. The process has the id of the program itself.
    pub(crate) fn command(&self, machine: usize, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.namespace(machine))).arg("--").arg(program);
        command
    }

    /// Sets what happens to packets `from` a machine `to` another, for all pairs at once: what is not named is whole
    /// again. Judged where they arrive. Resets go to where they came from.
    pub(crate) fn set(&self, fates: &[(usize, usize, Fate)]) {
        for machine in 0..self.machines {
            let mut rules = String::from("flush ruleset\n");
            let of: Vec<_> = fates.iter().filter(|(_, to, _)| *to == machine).collect();
            if !of.is_empty() {
                rules += "table ip faults {\n  chain in {\n    type filter hook input priority 0; policy accept;\n";
                for (from, _, fate) in of {
                    let what = match fate {
                        Fate::Drop => "drop".to_owned(),
                        Fate::Lose(percent) => format!("numgen random mod 100 < {percent} drop"),
                        Fate::Reset(percent) => {
                            format!(
                                "meta l4proto tcp numgen random mod 100 < {percent} reject with tcp reset"
                            )
                        }
                    };
                    rules.extend(["    ip saddr ", &ip(*from).to_string(), " ", &what, "\n"]);
                }
                rules += "  }\n}\n";
            }
            self.rules(machine, &rules);
        }
    }

    /// All is whole again.
    pub(crate) fn heal(&self) {
        self.set(&[]);
    }

    fn rules(&self, machine: usize, rules: &str) {
        let mut child = self.command(machine, Path::new("nft"));
        child.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().expect("nft runs");
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "nft: {}\n{rules}", String::from_utf8_lossy(&output.stderr));
    }

    /// Limits what a machine sends, in kbit/s, or no longer.
    pub(crate) fn limit(&self, machine: usize, kilobits: Option<u32>) {
        let namespace = self.namespace(machine);
        let tc = ["tc", "-n", &namespace, "qdisc"];
        if let Some(kilobits) = kilobits {
            let rate = format!("{kilobits}kbit");
            let shape =
                ["replace", "dev", "eth0", "root", "tbf", "rate", &rate, "burst", "16kb", "latency", "400ms"];
            run(&[&tc[..], &shape].concat());
        } else {
            // There may be none.
            let _ = command(&[&tc[..], &["del", "dev", "eth0", "root"]].concat()).output();
        }
    }
}

/// The address of a machine.
pub(crate) fn ip(machine: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(machine + 11).unwrap()))
}

pub(crate) fn http(machine: usize) -> SocketAddr {
    SocketAddr::new(ip(machine), HTTP)
}

pub(crate) fn peer(machine: usize) -> SocketAddr {
    SocketAddr::new(ip(machine), PEER)
}

/// The namespace where the bridge of an owner is and its runner lives.
pub(crate) fn hub(owner: u32) -> String {
    format!("{PREFIX}{owner}-hub")
}

/// Makes the hub of an owner.
pub(crate) fn open(owner: u32) {
    let hub = hub(owner);
    run(&["ip", "netns", "add", &hub]);
    let inside = ["ip", "-n", &hub];
    run(&[&inside[..], &["link", "set", "lo", "up"]].concat());
    run(&[&inside[..], &["link", "add", "bridge", "type", "bridge"]].concat());
    run(&[&inside[..], &["addr", "add", "192.0.2.1/24", "dev", "bridge"]].concat());
    run(&[&inside[..], &["link", "set", "bridge", "up"]].concat());
}

/// Removes the namespaces of an owner's machines: the next cluster has others.
pub(crate) fn clear(owner: u32) {
    remove(owner, false);
}

/// Removes all namespaces of an owner, and kills what is left in those of its machines. Those of owners that are
/// gone go too: nobody was there to remove them.
pub(crate) fn close(owner: u32) {
    remove(owner, true);
}

fn remove(owner: u32, with_hub: bool) {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    // The hubs last: they hold the other ends of the cables.
    names.sort_by_key(|name| name.ends_with("-hub"));
    for name in names {
        let Some((of, part)) = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let Ok(of) = of.parse::<u32>() else { continue };
        if of != owner && Path::new(&format!("/proc/{of}")).exists() {
            continue;
        }
        if part == "hub" && !with_hub {
            continue;
        }
        if part != "hub" {
            let inside = command(&["ip", "netns", "pids", &name]).output().unwrap();
            for pid in String::from_utf8_lossy(&inside.stdout).split_whitespace() {
                let _ = command(&["kill", "-KILL", pid]).output();
            }
        }
        let _ = command(&["ip", "netns", "del", &name]).output();
    }
}

fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    command
}

/// Runs a command that must work.
pub(crate) fn run(words: &[&str]) {
    let output = command(words).output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
