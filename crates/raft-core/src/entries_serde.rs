//! [`Entries`] as serde sees them: the sequence of the entries, whatever batch they are a part of.
//!
//! What is read comes from outside, so the guarantees of a run are checked here: one that does not
//! hold together is an error that names the two entries, and no [`Entries`] comes of it.

use alloc::vec::Vec;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::entry::{Entries, Entry};

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        match entries.windows(2).find(|pair| !goes_on(&pair[0], &pair[1])) {
            None => Ok(Self::from(entries)),
            Some(pair) => Err(D::Error::custom(format_args!(
                "the entry at {} cannot stand right after the one at {}: indexes grow by one, \
                 terms never go down",
                pair[1].at, pair[0].at
            ))),
        }
    }
}

fn goes_on(earlier: &Entry, later: &Entry) -> bool {
    Some(later.at.index.get()) == earlier.at.index.get().checked_add(1)
        && later.at.term >= earlier.at.term
}
