//! `kv-cli`: the command line and the prompt of the key-value store.
//!
//! With a command it runs that one; without, it reads commands: from a person through a
//! [prompt], or from standard input line by line ([batch]). All three end up in
//! [`session::Session::run`].
//!
//! Reading order: [`args`] and [`addresses`] are the flags, [`command`] is the one table of
//! commands, from which the flags' help, the prompt's help and its completion are made. [`words`]
//! splits a line as a shell does. [`session`] carries commands out, [`output`] and [`status`] show
//! what came of them. [`save`] writes backups, [`mod@bench`] is a load generator.
//!
//! What it does not do: it links no server, and repeats no write whose outcome is unknown.

mod addresses;
mod args;
mod batch;
mod bench;
mod command;
mod failure;
mod output;
mod prompt;
mod save;
mod session;
mod status;
mod words;

use std::io::{self, IsTerminal};
use std::process;

use clap::Parser;

use crate::args::Args;
use crate::failure::Failure;
use crate::session::{Input, Session};

fn main() -> process::ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn"))
        .format_timestamp(None)
        .init();
    let args = Args::parse();
    process::ExitCode::from(match run(args) {
        Ok(code) => code.code(),
        Err(failure) => failure.report().code(),
    })
}

fn run(args: Args) -> Result<kv_client::kv_proto::ExitCode, Failure> {
    let mut session = Session::new(&args)?;
    match args.action {
        Some(action) => session.run(action, Input::Free),
        None if io::stdin().is_terminal() => prompt::run(&mut session),
        None => batch::run(&mut session, io::stdin().lock()),
    }
}
