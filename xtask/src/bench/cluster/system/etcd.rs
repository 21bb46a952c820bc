//! etcd, loaded by `xtask/peers/etcd`, which speaks its protocol and prints what `kv-cli bench`
//! prints.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Figures, Server, System, loaded, program};
use crate::bench::cluster::shape::{Shape, Workload};
use crate::failure::{Context, Failure};
use crate::members::{Member, Members};
use crate::workspace::{self, succeed};

/// The workspace of the load generator, below the root.
const MANIFEST: &str = "xtask/peers/etcd/Cargo.toml";

/// Where it is built.
const TARGET_FOLDER: &str = "peers-etcd";

/// How long a cluster may take until it has a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// etcd, with its own defaults.
pub(crate) struct Etcd {
    server: PathBuf,
    load: PathBuf,
}

impl Etcd {
    /// Finds etcd, unless its program is given, and builds the load generator.
    ///
    /// # Errors
    ///
    /// If there is no such program, etcd is not installed, or the generator does not build.
    pub(crate) fn build(server: Option<&Path>) -> Result<Self, Failure> {
        let server = match server {
            Some(server) => program::named(server)?,
            None => program::installed("etcd", "etcd-server")?,
        };
        let target = workspace::metadata()?.target_directory.into_std_path_buf();
        let target = target.join(TARGET_FOLDER);
        let mut build = workspace::cargo(&["build", "--release", "--manifest-path"]);
        succeed(build.arg(MANIFEST).arg("--target-dir").arg(&target))?;
        Ok(Self { server, load: target.join("release/peers-etcd") })
    }

    fn start(&self, members: &Members, folder: &Path) -> Result<Vec<Server>, Failure> {
        let peers: Vec<String> =
            members.iter().map(|member| format!("n{}=http://{}", member.id, member.raft)).collect();
        let peers = peers.join(",");
        members.iter().map(|member| self.start_member(member, &peers, folder)).collect()
    }

    fn start_member(&self, member: Member, peers: &str, folder: &Path) -> Result<Server, Failure> {
        let (raft, client) =
            (format!("http://{}", member.raft), format!("http://{}", member.client));
        let name = format!("n{}", member.id);
        let mut command = Command::new(&self.server);
        command.arg("--name").arg(&name).arg("--data-dir").arg(folder.join(&name));
        command.args(["--listen-peer-urls", &raft, "--initial-advertise-peer-urls", &raft]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--initial-cluster", peers, "--initial-cluster-state", "new"]);
        // Its default of 2 GB stops a run of large values.
        command.args(["--quota-backend-bytes", "8589934592", "--log-level", "error"]);
        Server::start(&mut command, &folder.join(format!("{name}.log")))
    }

    fn load(&self, endpoints: &str, workload: Workload) -> Command {
        let mut load = Command::new(&self.load);
        load.args(["--endpoints", endpoints, "--workload", workload.name()]);
        load
    }

    fn wait_for_a_leader(&self, endpoints: &str) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let mut probe = self.load(endpoints, Workload::Put);
            probe.args(["--connections=1", "--in-flight=1", "--total=1", "--warm-up-seconds=0"]);
            let output = probe.output();
            let output = output.context(|| format!("cannot run {}", self.load.display()))?;
            let is_done = String::from_utf8_lossy(&output.stdout).contains("\"done\":1");
            if output.status.success() && is_done {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(100));
        }
        Err(Failure::new(format!("no member of etcd led within {PATIENCE:?}")))
    }
}

impl System for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn version(&self) -> Result<Option<String>, Failure> {
        program::version(&self.server).map(Some)
    }

    fn understands(&self, shape: &Shape) -> bool {
        shape.idle == 0 && shape.sequel.is_none()
    }

    fn run(&self, shape: &Shape, seconds: u64, folder: &Path) -> Result<Figures, Failure> {
        let members = Members::on_free_ports(shape.nodes)?;
        let servers = self.start(&members, folder)?;
        let endpoints = members.client_addresses().join(",");
        self.wait_for_a_leader(&endpoints)?;
        let mut load = self.load(&endpoints, shape.workload);
        let numbers = [
            ("--connections", u64::from(shape.connections)),
            ("--in-flight", u64::from(shape.in_flight)),
            ("--value-size", shape.value_size as u64),
            ("--keys", shape.keys),
        ];
        for (flag, number) in numbers {
            load.arg(flag).arg(number.to_string());
        }
        match shape.total {
            Some(total) => load.arg("--total").arg(total.to_string()).arg("--warm-up-seconds=0"),
            None => load.arg("--seconds").arg(seconds.to_string()),
        };
        let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
        let (printed, taken) = loaded(&mut load, &pids)?;
        let printed = serde_json::from_str(&printed);
        Figures::new(&printed.context(|| "the load generator printed no JSON".into())?, &taken)
    }
}
