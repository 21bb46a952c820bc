//! Why a command did not succeed, in the words and the exit code that its user gets.

use std::fmt;
use std::io::{self, Write};

use kv_client::kv_proto::ExitCode;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no such key.
    NotFound,
    /// It was asked for wrongly: what is wrong, and what to do.
    Usage(String),
    /// The store could not do it.
    Client(kv_client::Error),
    /// Load was put on the cluster, and not all of it was served.
    Bench(String, ExitCode),
    /// A backup was not saved: why, and what to do. Nothing is left of it.
    Save(String),
    /// Standard input could not be read.
    Input(io::Error),
    /// Standard output could not be written.
    Output(io::Error),
}

impl Failure {
    /// Tells it on standard error; returns the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        self.report_at("")
    }

    /// The same, of a line of standard input.
    pub(crate) fn report_line(&self, number: u64) -> ExitCode {
        self.report_at(&format!("line {number}: "))
    }

    fn report_at(&self, place: &str) -> ExitCode {
        match self {
            // Whoever reads our output has enough of it: `kv-cli list | head`.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::Done,
            Self::NotFound => {
                say(&self.to_string());
                ExitCode::NotFound
            }
            _ => {
                say(&format!("kv-cli: {place}{self}"));
                self.exit_code()
            }
        }
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotFound => ExitCode::NotFound,
            Self::Usage(_) | Self::Input(_) => ExitCode::Usage,
            Self::Client(error) => error.exit_code(),
            Self::Bench(_, code) => *code,
            Self::Save(_) => ExitCode::Unavailable,
            // It was done, but whoever asked does not see what came of it.
            Self::Output(_) => ExitCode::Unknown,
        }
    }
}

/// Says it on standard error. If nobody can hear it, the exit code has to do.
fn say(sentence: &str) {
    let _ = writeln!(io::stderr(), "{sentence}");
}

impl From<kv_client::Error> for Failure {
    fn from(error: kv_client::Error) -> Self {
        Self::Client(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::Usage(sentence) | Self::Bench(sentence, _) | Self::Save(sentence) => {
                f.write_str(sentence)
            }
            Self::Client(error) => error.fmt(f),
            Self::Input(error) => write!(f, "standard input cannot be read: {error}"),
            Self::Output(error) => write!(f, "standard output cannot be written: {error}"),
        }
    }
}
