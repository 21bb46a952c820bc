//! One server process, on free ports, with a folder of its own.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kv_client::{Client, Options};
use kv_proto::Role;
use tempfile::TempDir;

/// How long anything may take that should take a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How much of what each node said is shown when a test fails.
const SHOWN_LINES: usize = 40;

/// A cluster of processes. They are killed when it is dropped.
pub(crate) struct Cluster {
    folder: TempDir,
    raft_ports: Vec<u16>,
    client_ports: Vec<u16>,
    nodes: Vec<Option<Child>>,
    flags: Vec<String>,
}

impl Cluster {
    /// Starts so many nodes.
    pub(crate) fn start(size: usize) -> Self {
        Self::start_with(size, &[])
    }

    /// Starts so many nodes with these flags as well. They tell more than others: see
    /// [`Cluster::said`].
    pub(crate) fn start_with(size: usize, flags: &[&str]) -> Self {
        let mut cluster = Self::unstarted(size).with_flags(flags);
        cluster.start_all();
        cluster
    }

    /// So many nodes, of which none runs or has a data directory.
    pub(crate) fn unstarted(size: usize) -> Self {
        let ports = free_ports(2 * size);
        Self {
            folder: TempDir::new().unwrap(),
            raft_ports: ports[..size].to_vec(),
            client_ports: ports[size..].to_vec(),
            nodes: (0..size).map(|_| None).collect(),
            flags: Vec::new(),
        }
    }

    /// The same nodes; from their next start on they get these flags as well.
    #[must_use]
    pub(crate) fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    /// Starts every node on the data that it has.
    pub(crate) fn start_all(&mut self) {
        for id in 1..=self.nodes.len() {
            self.restart(id);
        }
    }

    /// Nodes that are started from now on are told that node `id` listens for others at this port.
    pub(crate) fn set_raft_port(&mut self, id: usize, port: u16) {
        self.raft_ports[id - 1] = port;
    }

    /// The folder of this cluster, for more files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What `--cluster` is told.
    pub(crate) fn flag(&self) -> String {
        let address = |port| format!("127.0.0.1:{port}");
        self.raft_ports.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// Starts node `id` again on the data it has.
    pub(crate) fn restart(&mut self, id: usize) {
        self.restart_with(id, &[]);
    }

    /// The same, with these flags as well this time.
    pub(crate) fn restart_with(&mut self, id: usize, flags: &[&str]) {
        let mut command = self.command(id);
        command.args(flags);
        self.restart_as(id, command);
    }

    /// The same with a command of one's own.
    pub(crate) fn restart_as(&mut self, id: usize, mut command: Command) {
        let (child, _) = ready(command.stdout(Stdio::piped()));
        self.nodes[id - 1] = Some(child);
    }

    /// Starts node `id`, and does not wait until it serves: it may not come to that.
    pub(crate) fn spawn(&mut self, id: usize) {
        let child = self.command(id).stdout(Stdio::null()).spawn().unwrap();
        self.nodes[id - 1] = Some(child);
    }

    /// What node `id` has told since the cluster began, if the cluster has flags of its own.
    pub(crate) fn said(&self, id: usize) -> String {
        fs::read_to_string(self.log_file(id)).unwrap_or_default()
    }

    fn log_file(&self, id: usize) -> PathBuf {
        self.folder.path().join(format!("{id}.stderr"))
    }

    /// How node `id` is started.
    pub(crate) fn command(&self, id: usize) -> Command {
        self.complete(id, server())
    }

    /// The same for a command that runs another, the node.
    pub(crate) fn command_under(&self, id: usize, mut tracer: Command) -> Command {
        let node = server();
        tracer.stdin(Stdio::null()).env_remove("RUST_LOG").arg(node.get_program());
        self.complete(id, tracer)
    }

    fn complete(&self, id: usize, mut command: Command) -> Command {
        command
            .args(["--node-id", &id.to_string(), "--cluster", &self.flag()])
            .args(["--client-bind", &self.client_address(id)])
            .arg("--data-dir")
            .arg(self.data(id))
            .args(&self.flags);
        if self.flags.is_empty() {
            command.stderr(Stdio::null());
        } else {
            let log = File::options().create(true).append(true).open(self.log_file(id)).unwrap();
            command.env("RUST_LOG", "info").stderr(log);
        }
        command
    }

    /// The data directory of node `id`.
    pub(crate) fn data(&self, id: usize) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    pub(crate) fn client_address(&self, id: usize) -> String {
        format!("127.0.0.1:{}", self.client_ports[id - 1])
    }

    pub(crate) fn raft_address(&self, id: usize) -> String {
        format!("127.0.0.1:{}", self.raft_ports[id - 1])
    }

    /// A client that knows every node.
    pub(crate) fn client(&self) -> Client {
        self.impatient_client(PATIENCE)
    }

    /// A client that gives up after `timeout`.
    pub(crate) fn impatient_client(&self, timeout: Duration) -> Client {
        let addresses = (1..=self.nodes.len()).map(|id| self.client_address(id));
        let options = Options { timeout };
        Client::new(addresses, options).unwrap()
    }

    /// Kills node `id` without a warning.
    pub(crate) fn kill(&mut self, id: usize) {
        let mut child = self.nodes[id - 1].take().expect("it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The process of node `id`.
    pub(crate) fn pid(&self, id: usize) -> u32 {
        self.nodes[id - 1].as_ref().expect("it runs").id()
    }

    /// Whether node `id` has not ended.
    pub(crate) fn is_running(&mut self, id: usize) -> bool {
        let child = self.nodes[id - 1].as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Waits until node `id` has ended by itself.
    pub(crate) fn wait_for_end(&mut self, id: usize) -> ExitStatus {
        let mut child = self.nodes[id - 1].take().expect("it was started");
        wait_for("the node to end", || child.try_wait().unwrap())
    }

    /// Asks node `id` to stop, and waits until it has, in order.
    pub(crate) fn stop(&mut self, id: usize) {
        let mut child = self.nodes[id - 1].take().expect("it runs");
        assert_eq!(terminate(&mut child, "-TERM").code(), Some(0));
    }

    pub(crate) fn kill_all(&mut self) {
        for id in 1..=self.nodes.len() {
            if self.nodes[id - 1].is_some() {
                self.kill(id);
            }
        }
    }

    /// Waits until some node leads, and returns which.
    pub(crate) fn leader(&self) -> usize {
        let client = self.client();
        wait_for("a leader", || {
            (1..=self.nodes.len()).find(|id| {
                let status = client.status(&self.client_address(*id));
                status.is_ok_and(|answer| answer.reply.node.role == Role::Leader)
            })
        })
    }

    /// The last index that node `id` has applied, and the digest of its state there.
    pub(crate) fn applied(&self, id: usize) -> Option<(u64, u64)> {
        let answer = self.client().status(&self.client_address(id)).ok()?;
        Some((answer.reply.node.applied_index, answer.reply.node.state_digest))
    }
}

impl Cluster {
    /// Shows how the nodes are, and what they said last: for a test that fails.
    fn show(&self) {
        let client = self.impatient_client(Duration::from_secs(1));
        for id in 1..=self.nodes.len() {
            let status = client.status(&self.client_address(id)).map(|answer| answer.reply.node);
            let said = self.said(id);
            let last = said.lines().rev().take(SHOWN_LINES).collect::<Vec<_>>();
            let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("node {id}: {status:?}\n{last}");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        self.kill_all();
    }
}

/// The program under test.
pub(crate) fn server() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv-server"));
    command.stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// Starts a server and waits for the line that says it serves; returns that line.
pub(crate) fn ready(command: &mut Command) -> (Child, String) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(line.contains("ready"), "the server did not become ready: {line:?}");
    // Read on, so that the pipe never breaks under the server.
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    (child, line)
}

/// Runs a server that should refuse to start; returns how it ended and what it said.
pub(crate) fn refused(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = wait_for("the server to end", || child.try_wait().unwrap());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    (status.code(), said)
}

/// Runs the program until it ends; returns the exit code, and what it said on standard output and
/// on standard error.
pub(crate) fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code(), out, err)
}

/// Asks a process to stop, and waits until it has.
pub(crate) fn terminate(child: &mut Child, signal: &str) -> ExitStatus {
    send_signal(child.id(), signal);
    wait_for("the server to stop", || child.try_wait().unwrap())
}

/// Sends a signal (`-TERM`) to a process.
pub(crate) fn send_signal(pid: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

/// Polls until there is something, or fails.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < give_up, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ports that nobody listens on, and that stay free while a node is down.
///
/// They once were such as the system gives to whoever connects. So when a node was killed, one of
/// the many who went on dialling, its own peers among them, could be given that very port for the
/// near end of a connection, and the node found its address in use when it started again.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let free = std::iter::repeat_with(next_port)
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.take(count).collect()
}

/// A port below those that the system gives away (from 32768 on, for Linux), another one each time.
/// Each process that runs tests begins elsewhere.
fn next_port() -> u16 {
    const FIRST: u64 = 10_240;
    const COUNT: u64 = 21_000;
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let begin = || AtomicU64::new(RandomState::new().hash_one(std::process::id()) % COUNT);
    let nth = NEXT.get_or_init(begin).fetch_add(1, Ordering::Relaxed);
    u16::try_from(FIRST + nth % COUNT).unwrap()
}

/// A server alone in its cluster, in this folder.
pub(crate) fn single(folder: &Path) -> (Command, u16) {
    let ports = free_ports(2);
    let mut command = server();
    command
        .args(["--bind", &format!("127.0.0.1:{}", ports[0])])
        .args(["--client-bind", &format!("127.0.0.1:{}", ports[1])])
        .arg("--data-dir")
        .arg(folder)
        .stderr(Stdio::null());
    (command, ports[1])
}
