//! `kv-server`, loaded by `kv-cli bench`.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Figures, System, loaded, saves};
use crate::bench::cluster::shape::Shape;
use crate::failure::{Context, Failure};
use crate::members::Members;
use crate::process::{Node, NodeSpec, Output};
use crate::workspace::Programs;

/// How long a cluster may take until it has a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Our own nodes.
pub(crate) struct Ours {
    pub(crate) programs: Programs,
}

impl System for Ours {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn understands(&self, _: &Shape) -> bool {
        true
    }

    fn run(&self, shape: &Shape, seconds: u64, folder: &Path) -> Result<Figures, Failure> {
        let members = Members::on_free_ports(shape.nodes)?;
        let mut nodes = Vec::new();
        for member in members.iter() {
            let spec = NodeSpec {
                program: self.programs.server.clone(),
                member,
                members: members.clone(),
                data_dir: folder.join(format!("n{}", member.id)),
                flags: Vec::new(),
                log_filter: Some("warn"),
                is_shielded: false,
            };
            nodes.push(Node::start(&spec, &Output::File(folder.join("log")))?);
        }
        let endpoints = members.client_addresses().join(",");
        self.wait_for_a_leader(&endpoints)?;
        let pids: Vec<u32> = nodes.iter().map(Node::pid).collect();
        let measure = || figures(&mut self.load(shape, seconds, &endpoints), &pids);
        if !shape.saves {
            return measure();
        }
        figures(&mut self.write_all(shape, &endpoints), &pids)?;
        let mut before = measure()?;
        let save = saves::save(&self.programs.cli, &endpoints, &folder.join("snapshot"));
        let (figures, snapshots) = saves::beside(save, measure)?;
        before.slowest_us = before.timeline.in_stretches(&snapshots);
        let during = snapshots.iter().filter_map(|span| figures.timeline.during(span));
        let slowest_us = during.collect();
        Ok(Figures { before: Some(Box::new(before)), slowest_us, ..figures })
    }
}

/// What came of a run of `kv-cli bench`.
fn figures(load: &mut Command, pids: &[u32]) -> Result<Figures, Failure> {
    let (printed, taken) = loaded(load, pids)?;
    let printed = serde_json::from_str(&printed);
    Figures::new(&printed.context(|| "kv-cli bench printed no JSON".into())?, &taken)
}

impl Ours {
    fn load(&self, shape: &Shape, seconds: u64, endpoints: &str) -> Command {
        let mut load = self.bench(shape, endpoints);
        match shape.total {
            Some(total) => load.arg("--total").arg(total.to_string()),
            None => load.arg("--warm-up=1s").arg(format!("--duration={seconds}s")),
        };
        load
    }

    /// Each key once.
    fn write_all(&self, shape: &Shape, endpoints: &str) -> Command {
        let mut load = self.bench(shape, endpoints);
        load.arg("--distribution=sequential").arg(format!("--total={}", shape.keys));
        load
    }

    fn bench(&self, shape: &Shape, endpoints: &str) -> Command {
        let mut load = Command::new(&self.programs.cli);
        load.args(["--endpoints", endpoints, "--output", "json", "--timeout", "30s", "bench"]);
        load.args(["--workload", shape.workload.name()]);
        let numbers = [
            ("--connections", u64::from(shape.connections)),
            ("--in-flight", u64::from(shape.in_flight)),
            ("--value-size", shape.value_size as u64),
            ("--keys", shape.keys),
            ("--idle", u64::from(shape.idle)),
        ];
        for (flag, number) in numbers {
            load.arg(flag).arg(number.to_string());
        }
        load
    }

    fn wait_for_a_leader(&self, endpoints: &str) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let put = Command::new(&self.programs.cli)
                .args(["--endpoints", endpoints, "--timeout", "1s", "put", "bench", "begins"])
                .output();
            let put = put.context(|| format!("cannot run {}", self.programs.cli.display()))?;
            if put.status.success() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(Failure::new(format!("no node led within {PATIENCE:?}")))
    }
}
