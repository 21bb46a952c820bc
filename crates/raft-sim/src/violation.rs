//! [`Violation`]: a rule that did not hold.

use std::fmt;

/// Something that must never happen, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule that is broken: the same for every seed that breaks it.
    pub rule: &'static str,
    /// Who broke it, with what.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, detail } = self;
        write!(f, "{rule}: {detail}")
    }
}

impl std::error::Error for Violation {}

/// Whether everything still holds.
pub(crate) type Checked = Result<(), Violation>;

/// Fails with this rule unless it holds.
pub(crate) fn check(holds: bool, rule: &'static str, detail: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(Violation { rule, detail: detail() }) }
}
