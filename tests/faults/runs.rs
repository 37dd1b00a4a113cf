//! Which faults are tried how often, and what is kept of it.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use clap::Parser;
use futures_util::FutureExt;

use crate::crew;
use crate::faults::{Fault, Plan};
use crate::limits;
use crate::report::{Row, table};
use crate::site::{self, Outcome, Site};

/// What is tried.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Choice {
    /// `quick`, `full`, or the name of a fault.
    #[arg(default_value = "quick")]
    what: String,
    /// How many clusters each fault happens to.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Of the chance in it; printed, so that a run can be done again.
    #[arg(long)]
    seed: Option<u64>,
    /// The program.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_conclave"))]
    program: PathBuf,
    /// Where the report goes, and the histories and logs of runs that failed.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/faults"))]
    report: PathBuf,
    /// So much must be answered in a second, or a run does not count.
    #[arg(long, default_value_t = 20)]
    floor: u64,
    /// A variable for every node, as NAME=VALUE; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    variable: Vec<String>,
    /// Set by the program itself: whose network this is in.
    #[arg(long, hide = true)]
    pub(crate) inside: Option<u32>,
    /// The same: where clusters lie.
    #[arg(long, hide = true)]
    folder: Option<PathBuf>,
}

impl Choice {
    /// The faults, and how often each happens to a cluster.
    fn faults(&self) -> Vec<(Fault, Plan)> {
        let all = Fault::ALL.into_iter().map(|fault| (fault, fault.plan()));
        match self.what.as_str() {
            "full" => all.collect(),
            "quick" => all
                .filter(|(_, plan)| plan.quick > 0)
                .map(|(fault, plan)| (fault, Plan { rounds: plan.quick, ..plan }))
                .collect(),
            name => all.filter(|(_, plan)| plan.name == name).collect(),
        }
    }
}

/// Tries everything chosen, prints and keeps the table, and says whether all was well.
pub(crate) async fn all(owner: u32, choice: &Choice) -> bool {
    let faults = choice.faults();
    if faults.is_empty() {
        let names: Vec<_> = Fault::ALL.into_iter().map(|fault| fault.plan().name).collect();
        eprintln!("no fault is called {}: quick, full, {}", choice.what, names.join(", "));
        return false;
    }
    fs::create_dir_all(&choice.report).unwrap();
    let seed = choice.seed.unwrap_or_else(|| u64::from(owner));
    println!("program {}, seed {seed}", choice.program.display());
    let mut rows = Vec::new();
    for (fault, plan) in faults {
        if fault == Fault::CpuStarved && !limits::can_starve() {
            println!("{}: not here, there is no control group for processors", plan.name);
            continue;
        }
        let mut row = Row { name: plan.name, outcomes: Vec::new(), failures: Vec::new(), idle: 0 };
        for run in 0..choice.runs {
            let seed = seed + u64::try_from(run).unwrap();
            attempt(owner, choice, (fault, plan), seed, &mut row).await;
        }
        print!("{}", table(std::slice::from_ref(&row)));
        rows.push(row);
    }
    let text = table(&rows);
    println!("\n{text}");
    fs::write(choice.report.join("report.txt"), text).unwrap();
    rows.iter().all(Row::is_good)
}

/// Removes what clusters leave where nobody else does.
pub(crate) fn forget(choice: &Choice) {
    if let Some(folder) = &choice.folder {
        let _ = fs::remove_dir_all(folder);
    }
}

/// One run, whose failure ends nothing else.
async fn attempt(owner: u32, choice: &Choice, (fault, plan): (Fault, Plan), seed: u64, row: &mut Row) {
    let folder = choice.folder.as_ref().unwrap().join(format!("{}-{seed}", plan.name));
    let environment = if plan.has_faked_clock { crew::faked_clock() } else { Some(Vec::new()) };
    let Some(mut environment) = environment else {
        row.failures.push("libfaketime is not installed".to_owned());
        return;
    };
    let given = choice.variable.iter().filter_map(|variable| variable.split_once('='));
    environment.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let options = site::options(choice.program.clone(), folder.clone(), plan.settings, environment);
    // In this task, not in one of its own: a failed assertion ends the run and nothing else.
    let run = AssertUnwindSafe(async move {
        let mut site = Site::open(owner, plan.machines, options, seed).await;
        for _ in 0..plan.rounds {
            fault.happen(&mut site).await;
        }
        site.close().await
    });
    let kept = choice.report.join(format!("{}-{seed}", plan.name));
    match run.catch_unwind().await {
        Ok(outcome) => {
            if outcome.rate < choice.floor {
                row.idle += 1;
            }
            if !outcome.violations.is_empty() {
                keep(&folder, &kept, Some(&outcome));
                println!("{} with seed {seed}: see {}", plan.name, kept.display());
            }
            row.outcomes.push(outcome);
        }
        Err(said) => {
            keep(&folder, &kept, None);
            let text = said.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| said.downcast_ref::<&str>().copied());
            let said = text.unwrap_or("it came to no end");
            row.failures.push(format!("seed {seed}, see {}: {said}", kept.display()));
        }
    }
    crate::net::clear(owner);
    let _ = fs::remove_dir_all(&folder);
}

/// Keeps the history, what is wrong with it, and the nodes' logs; no data and no keys.
fn keep(folder: &Path, kept: &Path, outcome: Option<&Outcome>) {
    fs::create_dir_all(kept).unwrap();
    if let Some(outcome) = outcome {
        let wrong: Vec<String> =
            outcome.violations.iter().map(|each| format!("{:?}: {}", each.kind, each.said)).collect();
        fs::write(kept.join("violations.txt"), wrong.join("\n") + "\n").unwrap();
        fs::write(kept.join("history.txt"), &outcome.history).unwrap();
        for line in wrong.iter().take(5) {
            println!("  {line}");
        }
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let log = entry.path().join("log");
        if log.exists() {
            let _ = fs::copy(log, kept.join(entry.file_name()).with_extension("log"));
        }
    }
}
