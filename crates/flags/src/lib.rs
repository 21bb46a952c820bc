//! The values of flags, read the same way by every program here: [`Size`]s, [`duration`]s, and
//! [`whole`] numbers.
//!
//! One rule: **whoever writes a value that is none is told what to write.** Parsers of numbers say
//! "invalid digit found in string", and that a number is too large for a type; neither helps. The
//! errors here are the second half of a sentence. The first half names the flag and the value, and
//! comes from whoever parses the command line:
//!
//! ```text
//! invalid value '9MB' for '--value-size <SIZE>': write a number of bytes, or 64KiB, 32MiB, 1GiB
//! ```
//!
//! [`unhelpful`] finds the flags of a program that break it.
//!
//! What it does not do: it knows no flag and no program, and says nothing about whether values fit
//! together.

mod duration;
mod size;
mod unhelpful;
mod whole;

pub use duration::duration;
pub use size::Size;
pub use unhelpful::unhelpful;
pub use whole::whole;
