//! [`Ruin`]: harm that leaves a real log nothing to be repaired from. Its node has to refuse to
//! start, with a sentence that names what is wrong, and to leave every byte as it is.
//!
//! It is never more than what the log can tell by itself: the end of a log that vanishes together
//! with its witness looks like a shorter log (`docs/format.md`).

use crate::coverage::Mark;
use crate::dice::Dice;
use crate::disk::{Extent, SECTOR_BYTES, SimDisk};
use crate::harm::{self, flip};

const META_FILE: &str = raft_storage::META_FILE;

/// Harm that no repair undoes.
#[derive(Debug)]
pub(crate) enum Ruin {
    /// The `meta` file is changed, too short or gone. There is a copy, which people put back when
    /// the node has refused to start.
    Meta { copy: Vec<u8> },
    /// The log is damaged, and so is the witness: nobody knows the node's latest vote any more, and
    /// it stays down for ever.
    LogAndWitness,
}

impl Ruin {
    /// What shows that it happened.
    pub(crate) const fn mark(&self) -> Mark {
        match self {
            Self::Meta { .. } => Mark::MetaDamaged,
            Self::LogAndWitness => Mark::LogAndWitnessDamaged,
        }
    }
}

/// Ruins the log on this disk, if there is one. No later record proves what is `fresh`; whether a
/// witness may be damaged is for the caller to know.
pub(crate) fn strike(
    disk: &SimDisk,
    fresh: &[Extent],
    may_hit_witness: bool,
    dice: &mut Dice,
) -> Option<Ruin> {
    if dice.coin() {
        return damage_meta(disk, dice);
    }
    let is_done = may_hit_witness
        && harm::strike_proven(disk, fresh, dice)
        && harm::damage_witness(disk, dice);
    is_done.then_some(Ruin::LogAndWitness)
}

fn damage_meta(disk: &SimDisk, dice: &mut Dice) -> Option<Ruin> {
    let (name, file) = disk.files(META_FILE).pop()?;
    let copy = disk.look(file, <[u8]>::to_vec);
    match dice.below(3) {
        0 => disk.lose(&name),
        1 => disk.tamper(file, |bytes| bytes.truncate(dice.place(copy.len()))),
        _ => {
            let sector = dice.place(copy.len().div_ceil(SECTOR_BYTES));
            disk.tamper(file, |bytes| flip(bytes, sector, dice));
        }
    }
    Some(Ruin::Meta { copy })
}
