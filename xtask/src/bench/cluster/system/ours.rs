//! `kv-server`, loaded by `kv-cli bench`.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::stalls::Stalls;
use super::{Figures, System, loaded, saves, witness};
use crate::bench::cluster::shape::{Sequel, Shape};
use crate::failure::{Context, Failure};
use crate::members::Members;
use crate::process::{Node, NodeSpec, Output};
use crate::workspace::Programs;

/// How long a cluster may take until it has a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long all that a cluster can do is measured, at most, before half of it is.
const FULL_SECONDS: u64 = 20;

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
        let cluster = Cluster {
            bench: self,
            shape,
            seconds,
            folder,
            endpoints: &endpoints,
            pids: nodes.iter().map(Node::pid).collect(),
        };
        cluster.run()
    }
}

/// Nodes with a leader, and what is to be measured of them.
struct Cluster<'a> {
    bench: &'a Ours,
    shape: &'a Shape,
    seconds: u64,
    folder: &'a Path,
    endpoints: &'a str,
    pids: Vec<u32>,
}

impl Cluster<'_> {
    fn run(&self) -> Result<Figures, Failure> {
        match self.shape.sequel {
            None => self.measure(),
            Some(Sequel::Snapshots) => self.beside_snapshots(),
            Some(Sequel::Half) => self.at_half(),
        }
    }

    fn measure(&self) -> Result<Figures, Failure> {
        figures(&mut self.load(self.seconds), &self.pids)
    }

    fn beside_snapshots(&self) -> Result<Figures, Failure> {
        self.write_all()?;
        let mut before = self.measure()?;
        let file = self.folder.join("snapshot");
        let save = saves::save(&self.bench.programs.cli, self.endpoints, &file);
        let (figures, snapshots) = saves::beside(save, || self.measure())?;
        before.slowest_us = before.timeline.in_stretches(&snapshots);
        let during = snapshots.iter().filter_map(|span| figures.timeline.during(span));
        let slowest_us = during.collect();
        Ok(Figures { before: Some(Box::new(before)), slowest_us, ..figures })
    }

    fn at_half(&self) -> Result<Figures, Failure> {
        self.write_all()?;
        let before = figures(&mut self.load(self.seconds.min(FULL_SECONDS)), &self.pids)?;
        let mut load = self.load(self.seconds);
        load.arg(format!("--rate={:.0}", before.ops_per_s / 2.0));
        let work = || figures(&mut load, &self.pids);
        let (figures, standstills) = witness::beside(self.folder, work)?;
        let stalls = Some(Stalls::at_half(&figures.timeline, &standstills));
        Ok(Figures { before: Some(Box::new(before)), stalls, ..figures })
    }

    /// Each key once.
    fn write_all(&self) -> Result<(), Failure> {
        let mut load = self.bench.bench(self.shape, self.endpoints);
        load.arg("--distribution=sequential").arg(format!("--total={}", self.shape.keys));
        figures(&mut load, &self.pids).map(|_| ())
    }

    fn load(&self, seconds: u64) -> Command {
        let mut load = self.bench.bench(self.shape, self.endpoints);
        match self.shape.total {
            Some(total) => load.arg("--total").arg(total.to_string()),
            None => load.arg("--warm-up=1s").arg(format!("--duration={seconds}s")),
        };
        load
    }
}

/// What came of a run of `kv-cli bench`.
fn figures(load: &mut Command, pids: &[u32]) -> Result<Figures, Failure> {
    let (printed, taken) = loaded(load, pids)?;
    let printed = serde_json::from_str(&printed);
    Figures::new(&printed.context(|| "kv-cli bench printed no JSON".into())?, &taken)
}

impl Ours {
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
