//! `cargo xtask`: the project's own commands. All of their work is in the library beside this.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::failure::Failure;
use xtask::workspace::{self, Profile};
use xtask::{bench, ci, cluster, model, sim, tidy, torture};

/// The project's own commands
#[derive(Parser, Debug)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Check everything: format, lints, tidy, tests, docs, one round of torture
    Ci,
    /// Check the rules that no compiler checks
    Tidy,
    /// Start a cluster of real processes on this machine
    Cluster(cluster::Options),
    /// Run clusters in simulation, one per seed, until one breaks a rule
    #[command(disable_help_flag = true)]
    Sim {
        /// See `cargo xtask sim --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Look at every state that a small cluster can reach
    #[command(disable_help_flag = true)]
    Model {
        /// See `cargo xtask model --help`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Kill nodes under writers, and see that nothing acknowledged is lost
    Torture {
        /// Torture this kv-server instead of building one
        #[arg(long, value_name = "PROGRAM")]
        server: Option<PathBuf>,
        #[command(flatten)]
        options: torture::Options,
    },
    /// A process of `bench --peer floor`, which starts it
    #[command(hide = true)]
    Floor {
        #[command(subcommand)]
        role: bench::cluster::floor::Role,
    },
    /// Measure, side by side with others: three real nodes, unless a part is named
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(subcommand)]
        part: Option<Bench>,
        #[command(flatten)]
        options: bench::cluster::Options,
    },
}

#[derive(Subcommand, Debug)]
enum Bench {
    /// The Raft core alone, beside the `raft` crate: no disk, no network, no time
    Core(bench::core::Options),
    /// How many instructions a put and a get need, beside the stored figures (needs valgrind)
    Instructions(bench::instructions::Options),
    /// The log beside the bare disk, and the store
    Storage(bench::storage::Options),
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Failure> {
    match task {
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run(),
        Task::Cluster(options) => cluster::run(&options),
        Task::Sim { arguments } => sim::run(&arguments),
        Task::Model { arguments } => model::run(&arguments),
        Task::Floor { role } => bench::cluster::floor::play(&role),
        Task::Bench { part: None, options } => bench::cluster::run(&options),
        Task::Bench { part: Some(Bench::Core(options)), .. } => bench::core::run(&options),
        Task::Bench { part: Some(Bench::Instructions(options)), .. } => {
            bench::instructions::run(options)
        }
        Task::Bench { part: Some(Bench::Storage(options)), .. } => bench::storage::run(&options),
        Task::Torture { server: Some(server), options } => torture::run(&server, options),
        Task::Torture { server: None, options } => {
            torture::run(&workspace::build_programs(Profile::Release)?.server, options)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_says_what_to_write_instead_of_a_wrong_number() {
        assert_eq!(flags::unhelpful(&Task::command()), Vec::<String>::new());
    }
}
