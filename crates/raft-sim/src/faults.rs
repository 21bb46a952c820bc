//! What can go wrong, and what is done to a cluster on purpose: the kinds of faults, and sets of
//! them.

use std::fmt;
use std::str::FromStr;

/// One kind of fault. Each run draws which kinds it has (swarm testing): a run in which everything
/// goes wrong at once hides what a single kind would show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Messages are lost.
    Loss,
    /// Messages arrive twice.
    Duplication,
    /// Messages overtake each other.
    Reordering,
    /// Some messages take longer than an election.
    Delays,
    /// Single links are cut, one way.
    Cuts,
    /// The cluster falls into parts that do not hear each other.
    Partitions,
    /// Connections break: what is under way is lost, and the sender is told.
    Disconnects,
    /// The power of a node goes: what was not synced is there in part, or not at all.
    Crashes,
    /// A process is killed: what it handed to the operating system is there.
    Kills,
    /// A process is stopped and goes on later, with all its input waiting.
    Pauses,
    /// Some syncs take seconds.
    SlowDisks,
    /// Writes and syncs fail, which ends the process.
    BadDisks,
    /// Clocks run at a tenth to ten times their speed.
    ClockSpeeds,
    /// Clocks jump, up to a day either way.
    ClockJumps,
    /// Logs are found damaged when a node starts: what comes after some entry is gone.
    Damage,
    /// An operator changes the members: no fault, but trouble enough.
    Changes,
    /// An operator hands leadership over, to anybody.
    Transfers,
    /// Nodes are told to campaign.
    Campaigns,
    /// Leaders are cut off from everybody. Where reads rely on clocks, the leader's then runs as
    /// slow as it may, and all others as fast; and somebody goes on reading there. Whoever looks
    /// after the others may start them anew, where processes are killed, and tells one of them to
    /// campaign, where elections are called.
    Isolation,
    /// What comes to a node, what goes out from it and what goes to one other takes up to several
    /// elections for a while, each by a span of its own. If it leads, clocks and reads are as with
    /// isolation.
    Lags,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 20] = [
        Self::Loss,
        Self::Duplication,
        Self::Reordering,
        Self::Delays,
        Self::Cuts,
        Self::Partitions,
        Self::Disconnects,
        Self::Crashes,
        Self::Kills,
        Self::Pauses,
        Self::SlowDisks,
        Self::BadDisks,
        Self::ClockSpeeds,
        Self::ClockJumps,
        Self::Damage,
        Self::Changes,
        Self::Transfers,
        Self::Campaigns,
        Self::Isolation,
        Self::Lags,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Duplication => "duplication",
            Self::Reordering => "reordering",
            Self::Delays => "delays",
            Self::Cuts => "cuts",
            Self::Partitions => "partitions",
            Self::Disconnects => "disconnects",
            Self::Crashes => "crashes",
            Self::Kills => "kills",
            Self::Pauses => "pauses",
            Self::SlowDisks => "slow-disks",
            Self::BadDisks => "bad-disks",
            Self::ClockSpeeds => "clock-speeds",
            Self::ClockJumps => "clock-jumps",
            Self::Damage => "damage",
            Self::Changes => "changes",
            Self::Transfers => "transfers",
            Self::Campaigns => "campaigns",
            Self::Isolation => "isolation",
            Self::Lags => "lags",
        }
    }

    /// Whether it strikes at moments of its own, rather than whenever something is sent or
    /// written.
    pub(crate) const fn strikes(self) -> bool {
        match self {
            Self::Loss
            | Self::Duplication
            | Self::Reordering
            | Self::Delays
            | Self::SlowDisks
            | Self::BadDisks => false,
            Self::Cuts
            | Self::Partitions
            | Self::Disconnects
            | Self::Crashes
            | Self::Kills
            | Self::Pauses
            | Self::ClockSpeeds
            | Self::ClockJumps
            | Self::Damage
            | Self::Changes
            | Self::Transfers
            | Self::Campaigns
            | Self::Isolation
            | Self::Lags => true,
        }
    }

    /// Whether somebody wants it to happen: then the `operator` sees to it, not the nemesis.
    pub(crate) const fn is_wanted(self) -> bool {
        matches!(self, Self::Changes | Self::Transfers | Self::Campaigns)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of kinds. As text: their names with commas between, or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    /// No fault at all.
    pub const NONE: Self = Self(0);

    /// Whether this kind is among them.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & fault.bit() != 0
    }

    /// The same with this kind among them.
    #[must_use]
    pub const fn with(self, fault: Fault) -> Self {
        Self(self.0 | fault.bit())
    }

    /// The same without this kind.
    #[must_use]
    pub const fn without(self, fault: Fault) -> Self {
        Self(self.0 & !fault.bit())
    }

    /// Those among them, in the order of [`Fault::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.has(*fault))
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        faults.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(Fault::name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// A name that no kind of fault has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFault(String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Fault::ALL.map(Fault::name).join(", ");
        write!(f, "there is no fault called {:?}: give some of {names}, or none", self.0)
    }
}

impl std::error::Error for UnknownFault {}

impl FromStr for Faults {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let named = |name: &str| {
            let found = Fault::ALL.into_iter().find(|fault| fault.name() == name);
            found.ok_or_else(|| UnknownFault(name.to_owned()))
        };
        text.split(',').map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_and_read_alike() {
        let all: Faults = Fault::ALL.into_iter().collect();
        for faults in [Faults::NONE, all, Faults::NONE.with(Fault::Loss).with(Fault::Kills)] {
            assert_eq!(faults.to_string().parse(), Ok(faults));
        }
        assert_eq!("loss,kills".parse::<Faults>().map(|set| set.iter().count()), Ok(2));
        let unknown = "loss,fire".parse::<Faults>().expect_err("no such fault");
        assert!(unknown.to_string().starts_with("there is no fault called \"fire\""));
    }
}
