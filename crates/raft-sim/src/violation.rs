//! [`Violation`]: a rule that did not hold.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// What `run` says. A panic in what is tested is a broken rule like any other.
pub(crate) fn catch_panics(run: impl FnOnce() -> Checked) -> Checked {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let detail = text.unwrap_or("it does not say why").to_owned();
        Err(Violation { rule: "nothing panics", detail })
    })
}
