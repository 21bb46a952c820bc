//! Nodes that decide nothing, and the bare disk: what nobody can be faster than. See
//! [`floor`](crate::bench::cluster::floor).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Figures, Server, System, loaded};
use crate::bench::cluster::shape::{Sequel, Shape, Workload};
use crate::failure::{Context, Failure};

/// The most that one write of our log takes.
const MAX_TOGETHER_BYTES: usize = 8 << 20;

/// How much of the work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Three logs, written and synced; nobody asks.
    Logs,
    /// Three logs, and three files of state behind.
    Files,
    /// Requests, three logs, answers.
    Net,
    /// The same, and three files of state behind.
    All,
}

/// A floor, played by processes of this very program.
pub(crate) struct Floor {
    kind: Kind,
    program: PathBuf,
}

impl Floor {
    /// All four, the least first.
    ///
    /// # Errors
    ///
    /// If the system does not tell which program this is.
    pub(crate) fn all() -> Result<[Self; 4], Failure> {
        let program = std::env::current_exe().context(|| "cannot find this program".into())?;
        let floor = |kind| Self { kind, program: program.clone() };
        Ok([Kind::Logs, Kind::Files, Kind::Net, Kind::All].map(floor))
    }

    fn role(&self, role: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["floor", role]);
        command
    }

    /// Starts a node, and waits until it says where it listens.
    fn start(&self, mut node: Command, folder: &Path, name: &str) -> Result<Started, Failure> {
        node.arg("--log").arg(folder.join(format!("{name}-log")));
        if self.kind == Kind::All {
            node.arg("--state").arg(folder.join(format!("{name}-state")));
        }
        let started = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.context(|| format!("cannot run {}", self.program.display()))?;
        let stdout = child.stdout.take();
        let server = Server(child);
        let mut address = String::new();
        if let Some(stdout) = stdout {
            let read = BufReader::new(stdout).read_line(&mut address);
            read.context(|| format!("the floor's {name} does not say where it listens"))?;
        }
        Ok(Started { server, address: address.trim().to_owned() })
    }

    /// Three nodes that serve so many connections; the leader comes last.
    fn start_all(&self, shape: &Shape, folder: &Path) -> Result<[Started; 3], Failure> {
        let first = self.start(self.role("follow"), folder, "follower-1")?;
        let second = self.start(self.role("follow"), folder, "follower-2")?;
        let mut lead = self.role("lead");
        lead.args(["--followers", &first.address, "--followers", &second.address]);
        lead.arg("--connections").arg(shape.connections.to_string());
        lead.arg("--value-bytes").arg(shape.value_size.to_string());
        Ok([first, second, self.start(lead, folder, "leader")?])
    }
}

/// A node, and where it listens.
struct Started {
    server: Server,
    address: String,
}

impl System for Floor {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Logs => "logs",
            Kind::Files => "files",
            Kind::Net => "net",
            Kind::All => "all",
        }
    }

    /// It has no snapshots: where others send some, it shows how long its puts wait without any.
    fn understands(&self, shape: &Shape) -> bool {
        let is_plain = shape.workload == Workload::Put && shape.idle == 0;
        let is_wide_open = shape.sequel != Some(Sequel::Half);
        is_plain && is_wide_open && shape.nodes == 3 && shape.total.is_none()
    }

    fn run(&self, shape: &Shape, seconds: u64, folder: &Path) -> Result<Figures, Failure> {
        let has_nodes = matches!(self.kind, Kind::Net | Kind::All);
        let nodes = if has_nodes { self.start_all(shape, folder)?.into() } else { Vec::new() };
        let mut load = self.role(if has_nodes { "load" } else { "bare" });
        if let Some(leader) = nodes.last() {
            load.args(["--leader", &leader.address]);
            load.arg("--connections").arg(shape.connections.to_string());
            load.arg("--in-flight").arg(shape.in_flight.to_string());
        } else {
            // Everything that is in flight, with one sync: nobody can write more at once.
            let in_flight = (shape.connections * shape.in_flight) as usize;
            let together = in_flight.min(MAX_TOGETHER_BYTES / shape.value_size).max(1);
            load.arg("--folder").arg(folder).arg("--together").arg(together.to_string());
            load.args((self.kind == Kind::Files).then_some("--state"));
        }
        load.arg("--value-bytes").arg(shape.value_size.to_string());
        load.arg("--seconds").arg(seconds.to_string());
        let pids: Vec<u32> = nodes.iter().map(|node| node.server.pid()).collect();
        let (printed, taken) = loaded(&mut load, &pids)?;
        let printed = serde_json::from_str(&printed);
        Figures::new(&printed.context(|| "the floor printed no JSON".into())?, &taken)
    }
}
