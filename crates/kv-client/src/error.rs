//! Why a call did not succeed, and whether it changed anything.

use std::fmt;
use std::time::Duration;

use kv_proto::{ExitCode, Outcome};

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A server answered that it cannot be done; another attempt would end the same, or might do
    /// it twice.
    Server(kv_proto::Error),
    /// No server could do it within the timeout. Nothing was changed.
    Unavailable {
        /// How long was tried.
        waited: Duration,
        /// Where the attempt went that told most.
        address: String,
        /// What came of it.
        reason: String,
    },
    /// A write was sent, and no answer came that says whether it was applied.
    NoAnswer {
        /// To whom.
        address: String,
        /// What came instead.
        reason: String,
    },
    /// An address that cannot be one.
    BadEndpoint {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No address was given.
    NoEndpoints,
}

impl Error {
    /// What a write that ended with this error has done. A read never does anything.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Server(error) => error.outcome(),
            Self::NoAnswer { .. } => Outcome::Unknown,
            Self::Unavailable { .. } | Self::BadEndpoint { .. } | Self::NoEndpoints => {
                Outcome::NotApplied
            }
        }
    }

    /// The exit code of a program that ends with this error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Server(error) => ExitCode::of(error),
            Self::NoAnswer { .. } => ExitCode::Unknown,
            Self::Unavailable { .. } => ExitCode::Unavailable,
            Self::BadEndpoint { .. } | Self::NoEndpoints => ExitCode::Usage,
        }
    }
}

/// Why nobody answered at an address, and what to look at.
pub(crate) fn with_hint(reason: &str) -> String {
    format!("{reason}; is a server running, and is this its address for clients?")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => error.fmt(f),
            Self::Unavailable { waited, address, reason } => write!(
                f,
                "no server could do it within {waited:?}, and nothing was changed; from {address}: \
                 {reason}"
            ),
            Self::NoAnswer { address, reason } => write!(
                f,
                "the write was sent to {address}, but no answer came ({reason}): it may or may \
                 not have been applied, so read before repeating it"
            ),
            Self::BadEndpoint { address, reason } => {
                write!(f, "{address:?} is not an address of a server: {reason}")
            }
            Self::NoEndpoints => f.write_str("no server address was given: name at least one"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Server(error) => Some(error),
            _ => None,
        }
    }
}
