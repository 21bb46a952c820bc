//! What the writers were told, and whether the store agrees.
//!
//! Every key is written once in its life, with a value that can be told from any other. So what a
//! write was told decides alone what may be found later:
//!
//! 1. *acknowledged*: the key is there, with its value;
//! 2. *not applied*: the key is not there;
//! 3. *unknown*: the key is there with its value, or it is not there;
//! 4. a key that nobody wrote is not there.

use std::fmt;

/// What the store answered to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It is done.
    Acknowledged,
    /// It is not done and never will be.
    NotApplied,
    /// It may be done now, later, or never.
    Unknown,
}

/// All writes of one writer, by number: every one of them has been told something.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    writer: usize,
    told: Vec<Told>,
}

/// How many writes were told what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) acknowledged: usize,
    pub(super) not_applied: usize,
    pub(super) unknown: usize,
}

impl Ledger {
    /// The empty ledger of this writer.
    pub(super) fn new(writer: usize) -> Self {
        let told = Vec::new();
        Self { writer, told }
    }

    /// The start of every key of this writer.
    pub(super) fn prefix(&self) -> String {
        format!("torture/{}/", self.writer)
    }

    /// The key and the value of this writer's next write.
    pub(super) fn next_write(&self) -> (String, String) {
        let number = self.told.len();
        (self.key(number), self.value(number))
    }

    /// Notes what the write of [`next_write`](Self::next_write) was told.
    pub(super) fn note(&mut self, told: Told) {
        self.told.push(told);
    }

    /// Adds this writer's writes to `tally`.
    pub(super) fn count(&self, tally: &mut Tally) {
        for told in &self.told {
            match told {
                Told::Acknowledged => tally.acknowledged += 1,
                Told::NotApplied => tally.not_applied += 1,
                Told::Unknown => tally.unknown += 1,
            }
        }
    }

    /// Compares with everything found under [`prefix`](Self::prefix); gives back what must not
    /// be.
    pub(super) fn judge<'a>(
        &self,
        found: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Vec<Violation> {
        let mut is_there = vec![false; self.told.len()];
        let mut violations = Vec::new();
        for (key, value) in found {
            let key = String::from_utf8_lossy(key).into_owned();
            match self.number_of(&key) {
                None => violations.push(Violation::NeverWritten { key }),
                Some(number) if value != self.value(number).as_bytes() => {
                    is_there[number] = true;
                    violations.push(Violation::Altered { key });
                }
                Some(number) => is_there[number] = true,
            }
        }
        for (number, (told, is_there)) in self.told.iter().zip(is_there).enumerate() {
            let key = || self.key(number);
            match (told, is_there) {
                (Told::Acknowledged, false) => violations.push(Violation::Lost { key: key() }),
                (Told::NotApplied, true) => violations.push(Violation::Applied { key: key() }),
                _ => {}
            }
        }
        violations
    }

    fn key(&self, number: usize) -> String {
        format!("{}{number:08}", self.prefix())
    }

    fn value(&self, number: usize) -> String {
        format!("value {number} of writer {}", self.writer)
    }

    /// The number of the write that made this key, if one did.
    fn number_of(&self, key: &str) -> Option<usize> {
        let number = key.strip_prefix(&self.prefix())?.parse().ok()?;
        (number < self.told.len() && self.key(number) == key).then_some(number)
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Violation {
    /// An acknowledged write is gone.
    Lost { key: String },
    /// A write holds another value than was written.
    Altered { key: String },
    /// A write that was told "not applied" has happened.
    Applied { key: String },
    /// Nobody wrote this.
    NeverWritten { key: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { key } => write!(f, "{key} was acknowledged and is not there"),
            Self::Altered { key } => write!(f, "{key} holds another value than was written"),
            Self::Applied { key } => write!(f, "{key} was told \"not applied\" and is there"),
            Self::NeverWritten { key } => write!(f, "{key} is there and was never written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(told: &[Told]) -> Ledger {
        let mut ledger = Ledger::new(7);
        for told in told {
            ledger.note(*told);
        }
        ledger
    }

    fn judge(ledger: &Ledger, found: &[(&str, &str)]) -> Vec<Violation> {
        let found = found.iter();
        ledger.judge(found.map(|(key, value)| (key.as_bytes(), value.as_bytes())))
    }

    const FIRST: &str = "torture/7/00000000";
    const VALUE: &str = "value 0 of writer 7";

    #[test]
    fn keys_and_values_follow_the_number_of_the_write() {
        assert_eq!(ledger(&[]).next_write(), (FIRST.into(), VALUE.into()));
        let (key, value) = ledger(&[Told::Unknown; 3]).next_write();
        assert_eq!((key.as_str(), value.as_str()), ("torture/7/00000003", "value 3 of writer 7"));
    }

    #[test]
    fn an_acknowledged_write_must_be_there_with_its_value() {
        let ledger = ledger(&[Told::Acknowledged]);
        assert_eq!(judge(&ledger, &[(FIRST, VALUE)]), []);
        let key = FIRST.to_owned();
        assert_eq!(judge(&ledger, &[]), [Violation::Lost { key: key.clone() }]);
        assert_eq!(judge(&ledger, &[(FIRST, "x")]), [Violation::Altered { key }]);
    }

    #[test]
    fn a_write_that_was_not_applied_must_not_be_there() {
        let ledger = ledger(&[Told::NotApplied]);
        assert_eq!(judge(&ledger, &[]), []);
        let key = FIRST.to_owned();
        assert_eq!(judge(&ledger, &[(FIRST, VALUE)]), [Violation::Applied { key }]);
    }

    #[test]
    fn an_unknown_write_may_be_there_or_not_but_whole() {
        let ledger = ledger(&[Told::Unknown]);
        assert_eq!(judge(&ledger, &[]), []);
        assert_eq!(judge(&ledger, &[(FIRST, VALUE)]), []);
        let key = FIRST.to_owned();
        assert_eq!(judge(&ledger, &[(FIRST, "")]), [Violation::Altered { key }]);
    }

    #[test]
    fn keys_out_of_nowhere_are_noticed() {
        let ledger = ledger(&[Told::Unknown]);
        for key in ["torture/7/00000001", "torture/7/0", "torture/7/", "other"] {
            let expected = [Violation::NeverWritten { key: key.into() }];
            assert_eq!(judge(&ledger, &[(key, VALUE)]), expected);
        }
    }

    #[test]
    fn writes_are_counted_by_what_they_were_told() {
        let mut tally = Tally::default();
        ledger(&[Told::Acknowledged, Told::Unknown, Told::Acknowledged]).count(&mut tally);
        ledger(&[Told::NotApplied]).count(&mut tally);
        let expected = Tally { acknowledged: 2, not_applied: 1, unknown: 1 };
        assert_eq!(tally, expected);
    }
}
