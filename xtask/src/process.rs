//! One node as a process of its own: started, watched, killed and stopped.
//!
//! A [`Node`] never outlives its owner by accident: dropped, it is killed.

use std::env;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::{Context, Failure};
use crate::members::{Member, Members};

/// How often a process that should end is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The longest line passed on in one piece.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// How one node is run.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The `kv-server` program.
    pub program: PathBuf,
    /// Which node it is.
    pub member: Member,
    /// Everybody, as told to each node.
    pub members: Members,
    /// Where it keeps its data; made if it is not there.
    pub data_dir: PathBuf,
    /// Further flags, such as `--timing-mode demo`.
    pub flags: Vec<String>,
    /// What `RUST_LOG` tells it, unless this process has that variable itself.
    pub log_filter: Option<&'static str>,
    /// Whether Ctrl-C at the terminal passes the node by, so that its owner decides when it
    /// stops. An owner that does not listen for Ctrl-C had better share it.
    pub is_shielded: bool,
}

impl NodeSpec {
    fn arguments(&self) -> Vec<String> {
        let named = [
            ("--node-id", self.member.id.to_string()),
            ("--bind", self.member.raft.to_string()),
            ("--client-bind", self.member.client.to_string()),
            ("--cluster", self.members.cluster_flag()),
            ("--data-dir", self.data_dir.display().to_string()),
        ];
        let named = named.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        named.chain(self.flags.iter().cloned()).collect()
    }
}

/// The line that a person would type to run the node.
impl fmt::Display for NodeSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.display().to_string();
        let words = std::iter::once(program).chain(self.arguments());
        let words: Vec<String> = words.map(|word| quoted(&word)).collect();
        f.write_str(&words.join(" "))
    }
}

/// A word as a shell takes it: in quotes where it needs them.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Receives what a node prints, line by line, from threads of its own.
pub type LineSink = Arc<dyn Fn(&str) + Send + Sync>;

/// Where a node's output goes, both streams together.
#[derive(Clone)]
pub enum Output {
    /// To the end of this file.
    File(PathBuf),
    /// To this function.
    Lines(LineSink),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Lines(_) => f.write_str("Lines"),
        }
    }
}

/// A running node, or one that has ended and was not started again.
#[derive(Debug)]
pub struct Node {
    member: Member,
    child: Child,
    readers: Vec<JoinHandle<()>>,
}

impl Node {
    /// Starts the process; returns without waiting for it to serve.
    ///
    /// # Errors
    ///
    /// If its folder or the file for its output cannot be made, or the program cannot be run.
    pub fn start(spec: &NodeSpec, output: &Output) -> Result<Self, Failure> {
        let data_dir = &spec.data_dir;
        fs::create_dir_all(data_dir).context(|| format!("cannot make {}", data_dir.display()))?;
        let mut command = Command::new(&spec.program);
        command.args(spec.arguments()).stdin(Stdio::null());
        if let (Some(filter), None) = (spec.log_filter, env::var_os("RUST_LOG")) {
            command.env("RUST_LOG", filter);
        }
        if spec.is_shielded {
            command.process_group(0);
        }
        let (out, err) = streams(output)?;
        let started = command.stdout(out).stderr(err).spawn();
        let mut child = started.context(|| format!("cannot run {}", spec.program.display()))?;
        let mut readers = Vec::new();
        if let Output::Lines(sink) = output {
            let out = child.stdout.take().map(|out| read_lines(out, sink));
            let err = child.stderr.take().map(|err| read_lines(err, sink));
            readers.extend(out.into_iter().chain(err));
        }
        Ok(Self { member: spec.member, child, readers })
    }

    /// Which node it is.
    pub fn member(&self) -> Member {
        self.member
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has. All it printed has been passed on by then.
    ///
    /// # Errors
    ///
    /// If the system cannot tell.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let status = self.child.try_wait();
        let status = status.context(|| format!("cannot watch node {}", self.member.id))?;
        if status.is_some() {
            self.join_readers();
        }
        Ok(status)
    }

    /// Asks it to stop (SIGTERM). No effect on one that has ended.
    ///
    /// # Errors
    ///
    /// If the signal cannot be sent.
    pub fn ask_to_stop(&mut self) -> Result<(), Failure> {
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        let sent = kill_process(Pid::from_child(&self.child), Signal::TERM);
        sent.context(|| format!("cannot stop node {}", self.member.id))
    }

    /// Waits for its end, until `deadline` at most; then how it ended, or `None`.
    ///
    /// # Errors
    ///
    /// If the system cannot tell.
    pub fn wait_until(&mut self, deadline: Instant) -> Result<Option<ExitStatus>, Failure> {
        loop {
            let status = self.exit_status()?;
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends it where it stands (SIGKILL), as a loss of power would end the process, and waits
    /// until it is gone. No effect on one that has ended.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<(), Failure> {
        Self::kill_all([self])
    }

    /// As [`kill`](Self::kill), for several at the same moment: all have got the signal before
    /// the first is waited for.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn kill_all<'a>(nodes: impl IntoIterator<Item = &'a mut Self>) -> Result<(), Failure> {
        let cannot_kill = |node: &Self| format!("cannot kill node {}", node.member.id);
        let mut nodes: Vec<&mut Self> = nodes.into_iter().collect();
        for node in &mut nodes {
            node.child.kill().context(|| cannot_kill(node))?;
        }
        for node in &mut nodes {
            node.child.wait().context(|| cannot_kill(node))?;
            node.join_readers();
        }
        Ok(())
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            // A panic in a sink has been printed by its own thread.
            drop(reader.join());
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nobody is left to hear of an error.
        drop(self.kill());
    }
}

fn streams(output: &Output) -> Result<(Stdio, Stdio), Failure> {
    let Output::File(path) = output else {
        return Ok((Stdio::piped(), Stdio::piped()));
    };
    let cannot_open = || format!("cannot write to {}", path.display());
    let file = OpenOptions::new().create(true).append(true).open(path).context(cannot_open)?;
    let twin = file.try_clone().context(cannot_open)?;
    Ok((file.into(), twin.into()))
}

/// Passes on every line of `stream` to its end. A stream that breaks has ended.
fn read_lines(stream: impl Read + Send + 'static, sink: &LineSink) -> JoinHandle<()> {
    let sink = Arc::clone(sink);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        while let Ok(Some(line)) = next_line(&mut stream) {
            sink(&line);
        }
    })
}

fn next_line(stream: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let count = stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    let line = String::from_utf8_lossy(&line);
    Ok((count > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::sync::Mutex;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A node whose program is a shell script: what it does with its flags is up to the test.
    fn script(folder: &std::path::Path, text: &str) -> NodeSpec {
        let program = folder.join("server.sh");
        let text_file = folder.join("text");
        fs::write(&text_file, format!("#!/bin/sh\n{text}\n")).expect("the script is written");
        // Copied by another process: a program that this one has open for writing, or one that it
        // forks meanwhile, is busy and cannot be run.
        let mut install = Command::new("install");
        install.args(["-m", "700"]).arg(text_file).arg(&program);
        assert!(install.status().is_ok_and(|status| status.success()));
        let members = Members::from_base_port(1, 8080).expect("ports in range");
        let member = members.iter().next().expect("one member");
        NodeSpec {
            program,
            member,
            members,
            data_dir: folder.join("n1"),
            flags: vec!["-v".into()],
            log_filter: None,
            is_shielded: true,
        }
    }

    fn collector() -> (Arc<Mutex<Vec<String>>>, Output) {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&lines);
        let sink = move |line: &str| sink.lock().expect("no panic").push(line.to_owned());
        (lines, Output::Lines(Arc::new(sink)))
    }

    fn soon() -> Instant {
        Instant::now() + PATIENCE
    }

    #[test]
    fn a_node_gets_its_flags_and_its_lines_arrive_before_its_end_is_known() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let spec = script(folder.path(), "echo \"$@\"; echo oh >&2; exit 3");
        let (lines, output) = collector();
        let mut node = Node::start(&spec, &output).expect("the script starts");
        let status = node.wait_until(soon()).expect("it can be watched");
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        let mut lines = lines.lock().expect("no panic").clone();
        lines.sort();
        assert_eq!(lines[1], "oh");
        let expected = "--node-id 1 --bind 127.0.0.1:8080 --client-bind 127.0.0.1:9080 --cluster \
                        1=127.0.0.1:8080 --data-dir ";
        assert!(lines[0].starts_with(expected) && lines[0].ends_with("/n1 -v"), "{}", lines[0]);
        assert!(spec.to_string().contains(&lines[0]), "{spec}");
    }

    #[test]
    fn a_node_stops_when_asked_and_is_gone_when_killed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let polite =
            script(folder.path(), "trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done");
        let log = folder.path().join("log");
        let mut node = Node::start(&polite, &Output::File(log.clone())).expect("it starts");
        while fs::read(&log).is_ok_and(|log| log.is_empty()) {
            thread::sleep(POLL_INTERVAL);
        }
        node.ask_to_stop().expect("the signal is sent");
        let status = node.wait_until(soon()).expect("it can be watched");
        assert_eq!(status.and_then(|status| status.code()), Some(0));

        let mut node = Node::start(&polite, &Output::File(log)).expect("it starts");
        assert_eq!(node.wait_until(Instant::now()), Ok(None));
        node.kill().expect("it can be killed");
        let status = node.exit_status().expect("it can be watched");
        assert_eq!(status.and_then(|status| status.signal()), Some(9));
        node.ask_to_stop().expect("no effect on the dead");
        node.kill().expect("nor twice");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut spec = script(folder.path(), "");
        spec.program = folder.path().join("no-such-program");
        let failure = Node::start(&spec, &collector().1).expect_err("nothing to run");
        assert!(failure.to_string().contains("no-such-program"), "{failure}");
    }

    #[test]
    fn a_line_without_end_arrives_in_pieces() {
        let long = vec![b'x'; 70_000];
        let mut stream = BufReader::new(&long[..]);
        let first = next_line(&mut stream).expect("memory does not fail");
        assert_eq!(first.map(|line| line.len()), Some(65_536));
        let rest = next_line(&mut stream).expect("memory does not fail");
        assert_eq!(rest.map(|line| line.len()), Some(70_000 - 65_536));
        assert_eq!(next_line(&mut stream).expect("memory does not fail"), None);
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("1=127.0.0.1:8080,2=b"), "1=127.0.0.1:8080,2=b");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
