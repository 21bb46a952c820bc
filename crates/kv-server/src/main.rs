//! `kv-server`: a node of a replicated key-value store.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::thread;

use clap::Parser;
use kv_server::commands::{Command, LogCommand, SnapshotCommand};
use kv_server::members::Address;
use kv_server::offline;
use kv_server::options::Options;
use kv_server::server::{Server, Stopper};
use kv_server::settings::Settings;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The exit code for flags that do not fit together; clap uses the same for those it knows.
const USAGE: u8 = 2;

/// The exit code for whatever else went wrong.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let options = Options::parse();
    start_logger(options.node.verbose);
    let outcome = match options.command {
        Some(command) => return offline(command),
        None => match Settings::try_from(options.node) {
            Ok(settings) => serve(&settings),
            Err(error) => {
                complain(&error);
                return ExitCode::from(USAGE);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Does something other than serve.
fn offline(command: Command) -> ExitCode {
    let out = &mut std::io::stdout().lock();
    let done = match command {
        Command::Log { command: LogCommand::Inspect { dir } } => offline::log::inspect(&dir, out),
        Command::Log { command: LogCommand::Verify { dir } } => offline::log::verify(&dir, out),
        Command::Snapshot { command: SnapshotCommand::Verify { file } } => {
            offline::snapshot::verify(&file, out)
        }
        Command::Restore(options) => offline::restore::run(options, out),
        Command::Recover(options) => {
            offline::recover::run(&options, &mut std::io::stdin().lock(), out)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has enough of it.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(if error.is_usage() { USAGE } else { FAILURE })
        }
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn complain(error: &dyn Display) {
    // Nobody may be listening: the exit code says it too.
    let _ = writeln!(std::io::stderr().lock(), "kv-server: {error}");
}

fn start_logger(is_verbose: bool) {
    let level = if is_verbose { "debug" } else { "warn" };
    let environment = env_logger::Env::default().default_filter_or(level);
    env_logger::Builder::from_env(environment)
        .format_target(false)
        .format_timestamp_millis()
        .init();
}

/// Serves until a signal asks to stop.
fn serve(settings: &Settings) -> Outcome {
    let signals = Signals::new([SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let stopper = Arc::new(OnceLock::new());
    let to_heed = Arc::clone(&stopper);
    let watcher =
        thread::Builder::new().name("signals".into()).spawn(move || heed(signals, &to_heed))?;
    let server = Server::start(settings)?;
    // It is set here and nowhere else.
    let _ = stopper.set(server.stopper());
    introduce(&server, settings.node_id);
    let outcome = server.wait();
    handle.close();
    if watcher.join().is_err() {
        log::error!("the thread that waits for signals had panicked");
    }
    Ok(outcome?)
}

/// Says on standard output where the node is to be found.
fn introduce(server: &Server, node: u64) {
    let mut out = std::io::stdout().lock();
    // Nobody may be reading: that is no reason not to serve.
    let _ = writeln!(
        out,
        "kv-server: node {node} ready: raft {}, clients {}\n\
         connect with: kv-cli --endpoints {}\n\
         data: {}",
        server.raft_address(),
        Address::from(server.client_address()),
        server.advertised_address(),
        server.data(),
    );
    let _ = out.flush();
}

/// The first signal asks the server to stop in order. Whoever sends another does not want to wait
/// for that, and a signal that comes before there is a server finds nothing to be put in order:
/// those end the process where it stands, by which nothing is lost that was acknowledged.
fn heed(mut signals: Signals, stopper: &OnceLock<Stopper>) {
    let mut stops = false;
    for signal in signals.forever() {
        let name = if signal == SIGINT { "Ctrl-C" } else { "SIGTERM" };
        match stopper.get() {
            Some(stopper) if !stops => {
                // Who sends the other is a program, more often than not.
                let advice = if signal == SIGINT { "; a second one ends it at once" } else { "" };
                complain(&format_args!(
                    "{name}: this node finishes what is under way and stops{advice}"
                ));
                stopper.stop();
            }
            Some(_) => {
                complain(&format_args!(
                    "{name} again: this node ends at once, and what was under way has no answer; \
                     nothing that was acknowledged is lost"
                ));
                std::process::exit(FAILURE.into());
            }
            None => {
                complain(&format_args!("{name}: this node ends before it has served anybody"));
                std::process::exit(0);
            }
        }
        stops = true;
    }
}
