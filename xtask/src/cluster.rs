//! `cargo xtask cluster`: a cluster of real processes behind one terminal.

use std::env;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use flags::whole;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Context, Failure};
use crate::members::{MAX_NODES, Members};
use crate::process::{Node, NodeSpec, Output};
use crate::workspace::{self, Profile, Programs};

/// How often signals and the nodes are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long nodes may take to finish what is in flight and end before they are killed.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// What `cargo xtask cluster` is told.
#[derive(Args, Debug)]
pub struct Options {
    /// How many nodes to start, 1 to 9
    #[arg(long, default_value_t = 3, value_parser = whole(1..=MAX_NODES))]
    pub nodes: u16,
    /// Raft port of the first node; the others follow, clients are 1000 above
    #[arg(long, default_value_t = 8080, value_parser = whole(1..=u16::MAX))]
    pub base_port: u16,
    /// Where the nodes keep their data; kept for the next start
    #[arg(long, default_value = "./kv-data/cluster")]
    pub data_dir: PathBuf,
    /// How fast the nodes work; debug and demo also show what they think
    #[arg(long, value_enum, default_value_t = TimingMode::Fast)]
    pub timing_mode: TimingMode,
    /// Show what the nodes think in fast mode, too
    #[arg(short, long)]
    pub verbose: bool,
}

/// The timing presets of `kv-server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TimingMode {
    /// As in production
    Fast,
    /// Ten times slower
    Debug,
    /// Slow enough to follow by eye
    Demo,
}

impl TimingMode {
    /// The preset's name, as `kv-server --timing-mode` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Debug => "debug",
            Self::Demo => "demo",
        }
    }
}

/// Builds the programs, starts the nodes, and stays until Ctrl-C or until no node is left.
///
/// # Errors
///
/// If the cluster cannot be started, or every node ended by itself.
pub fn run(options: &Options) -> Result<(), Failure> {
    let members = Members::from_base_port(options.nodes, options.base_port)?;
    members.check_ports_are_free()?;
    let programs = workspace::build_programs(Profile::Release)?;
    let interrupted = Interrupt::listen()?;
    let mut nodes = Vec::new();
    for spec in specs(options, &members, &programs) {
        let output = Output::Lines(Arc::new(prefixed(spec.member.id)));
        let node = Node::start(&spec, &output)?;
        nodes.push(Running { spec, node });
    }
    say(&introduction(options, &members, &programs, &nodes));
    watch(&mut nodes, &interrupted)?;
    stop(nodes, &interrupted)
}

/// A node with what it takes to start it again.
struct Running {
    spec: NodeSpec,
    node: Node,
}

fn specs<'a>(
    options: &'a Options,
    members: &'a Members,
    programs: &'a Programs,
) -> impl Iterator<Item = NodeSpec> + 'a {
    let mut flags = vec!["--timing-mode".into(), options.timing_mode.name().into()];
    // Whoever slows the cluster down wants to see its elections and votes.
    if options.verbose || options.timing_mode != TimingMode::Fast {
        flags.push("--verbose".to_owned());
    }
    members.iter().map(move |member| NodeSpec {
        program: programs.server.clone(),
        member,
        members: members.clone(),
        data_dir: options.data_dir.join(format!("n{}", member.id)),
        flags: flags.clone(),
        log_filter: None,
        is_shielded: true,
    })
}

/// Returns when a signal came; fails when no node is left.
fn watch(nodes: &mut Vec<Running>, interrupted: &Interrupt) -> Result<(), Failure> {
    while !interrupted.take() {
        let mut still_there = Vec::new();
        for mut running in nodes.drain(..) {
            match running.node.exit_status()? {
                None => still_there.push(running),
                Some(status) => {
                    let id = running.spec.member.id;
                    say(&format!(
                        "node {id} ended unexpectedly: {status}. To start it again:\n  {}",
                        running.spec
                    ));
                }
            }
        }
        *nodes = still_there;
        if nodes.is_empty() {
            return Err(Failure::new("no node is left; their last lines say why"));
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(())
}

/// Asks all nodes to stop and waits for them; a second signal, or too long a wait, kills them.
fn stop(nodes: Vec<Running>, interrupted: &Interrupt) -> Result<(), Failure> {
    say("stopping; the data stays (Ctrl-C again does not wait)");
    let mut nodes: Vec<Node> = nodes.into_iter().map(|running| running.node).collect();
    for node in &mut nodes {
        node.ask_to_stop()?;
    }
    let deadline = Instant::now() + STOP_GRACE;
    for mut node in nodes {
        let id = node.member().id;
        let mut status = node.exit_status()?;
        while status.is_none() && Instant::now() < deadline && !interrupted.take() {
            status = node.wait_until(Instant::now() + POLL_INTERVAL)?;
        }
        match status {
            Some(status) if status.success() => {}
            Some(status) => say(&format!("node {id} did not stop cleanly: {status}")),
            None => {
                node.kill()?;
                say(&format!("node {id} did not stop in time and was killed"));
            }
        }
    }
    Ok(())
}

/// Ctrl-C, a polite kill, or the terminal going away.
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn listen() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let registered = signal_hook::flag::register(signal, Arc::clone(&flag));
            registered.context(|| "cannot listen for Ctrl-C".into())?;
        }
        Ok(Self(flag))
    }

    /// Whether a signal came since the last call.
    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// What a person needs to know first: who is where, and what to type next.
fn introduction(
    options: &Options,
    members: &Members,
    programs: &Programs,
    nodes: &[Running],
) -> String {
    let data_dir = options.data_dir.display();
    let mode = options.timing_mode.name();
    let mut text = format!("{} nodes, {mode} timing, data in {data_dir}\n\n", nodes.len());
    let _ = writeln!(text, "  {:<5} {:<16} {:<16} process", "node", "raft", "clients");
    for Running { spec, node } in nodes {
        let id = format!("n{}", spec.member.id);
        let (raft, client) = (spec.member.raft, spec.member.client);
        let _ = writeln!(text, "  {id:<5} {raft:<16} {client:<16} {}", node.pid());
    }
    let cli = shortened(&programs.cli);
    let raft = members.raft_addresses();
    let _ = write!(
        text,
        "\nIn another terminal:  {} --cluster {raft}\nStop with Ctrl-C; the data stays.\n",
        cli.display()
    );
    text
}

/// A path as it is typed from here.
fn shortened(path: &Path) -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_path_buf()
}

/// Prints each line behind the node's name, in the node's colour.
fn prefixed(id: u16) -> impl Fn(&str) + Send + Sync {
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_coloured = !is_plain && io::stdout().is_terminal();
    move |line| say(&with_prefix(id, line, is_coloured))
}

fn with_prefix(id: u16, line: &str, is_coloured: bool) -> String {
    // Green, yellow, blue, magenta, cyan: red is for errors.
    let colour = 32 + (id - 1) % 5;
    if is_coloured {
        format!("\x1b[{colour}m[n{id}]\x1b[0m {line}")
    } else {
        format!("[n{id}] {line}")
    }
}

/// Prints one piece of text as a whole. A reader that went away is no reason to stop the nodes.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(timing_mode: TimingMode) -> Options {
        Options { nodes: 3, base_port: 8080, data_dir: "data".into(), timing_mode, verbose: false }
    }

    fn flags_of(options: &Options) -> Vec<Vec<String>> {
        let members = Members::from_base_port(options.nodes, options.base_port).expect("ports");
        let programs = Programs { server: "kv-server".into(), cli: "kv-cli".into() };
        specs(options, &members, &programs).map(|spec| spec.flags).collect()
    }

    #[test]
    fn slow_presets_talk_and_the_fast_one_is_quiet() {
        let quiet = ["--timing-mode", "fast"].map(String::from).to_vec();
        assert_eq!(flags_of(&options(TimingMode::Fast)), vec![quiet; 3]);
        let loud = ["--timing-mode", "demo", "--verbose"].map(String::from).to_vec();
        assert_eq!(flags_of(&options(TimingMode::Demo)), vec![loud; 3]);
    }

    #[test]
    fn lines_carry_the_name_of_their_node() {
        assert_eq!(with_prefix(2, "hello", false), "[n2] hello");
        assert_eq!(with_prefix(1, "hello", true), "\x1b[32m[n1]\x1b[0m hello");
        assert_eq!(with_prefix(6, "hello", true), "\x1b[32m[n6]\x1b[0m hello");
    }
}
