//! [`Failure`]: what went wrong, as a sentence for the person at the terminal.

use std::fmt;

/// Why a command could not do its work: one clear sentence that names the value at fault. The
/// caller is always a person or a script that prints it, so there is nothing to match on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    /// A failure with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failure {}

/// Says what was being tried when an error came up.
pub trait Context<T> {
    /// Puts `doing` before the error: "cannot read notes.txt: permission denied".
    ///
    /// # Errors
    ///
    /// The error of `self`, with `doing` before it.
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: fmt::Display> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure(format!("{}: {error}", doing())))
    }
}
