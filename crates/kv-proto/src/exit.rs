//! What a command line program says with its exit code.

use crate::error::{Error, Outcome};

/// The exit codes of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// It is done.
    Done = 0,
    /// What was asked for does not exist.
    NotFound = 1,
    /// It was asked for in a way that cannot be served: the same request fails again.
    Usage = 2,
    /// A comparison did not hold.
    ComparisonFailed = 3,
    /// Nothing was changed; the same request may succeed later.
    Unavailable = 4,
    /// A write may or may not have been applied.
    Unknown = 5,
    /// The user may not do that.
    NotPermitted = 6,
}

impl ExitCode {
    /// The number for the operating system.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The exit code after a write failed with `error`. A read has no unknown outcome: its caller
    /// takes [`Unavailable`](Self::Unavailable) where this says [`Unknown`](Self::Unknown).
    pub fn of(error: &Error) -> Self {
        match error {
            _ if error.outcome() == Outcome::Unknown => Self::Unknown,
            Error::KeyNotFound | Error::LeaseNotFound { .. } => Self::NotFound,
            _ if error.is_temporary() => Self::Unavailable,
            _ => Self::Usage,
        }
    }
}
