//! `kv-server`: a node of a replicated key-value store.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use kv_server::commands::{Command, LogCommand, SnapshotCommand};
use kv_server::members::Address;
use kv_server::offline;
use kv_server::options::Options;
use kv_server::server::Server;
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
            complain(error.as_ref());
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

fn complain(error: &dyn std::error::Error) {
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
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let node = settings.node_id;
    let server = Server::start(settings)?;
    let clients = Address::from(server.client_address());
    let mut out = std::io::stdout().lock();
    // Nobody may be reading: that is no reason not to serve.
    let _ = writeln!(
        out,
        "kv-server: node {node} ready: raft {}, clients {clients}\n\
         connect with: kv-cli --endpoints {}\n\
         data: {}",
        server.raft_address(),
        server.advertised_address(),
        server.data(),
    );
    let _ = out.flush();
    drop(out);
    let stopper = server.stopper();
    let handle = signals.handle();
    let watcher = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            log::info!("stopping, because of signal {signal}");
            stopper.stop();
        }
    })?;
    let outcome = server.wait();
    handle.close();
    if watcher.join().is_err() {
        log::error!("the thread that waits for signals had panicked");
    }
    Ok(outcome?)
}
