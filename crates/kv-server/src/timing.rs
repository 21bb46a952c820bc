//! How fast the cluster moves: three presets of the same code, and the bounds between the values.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use raft_core::{Config, ConfigError, NodeId};

/// A set of timings, for machines or for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TimingMode {
    /// For real use: elections within a third of a second
    #[default]
    Fast,
    /// Ten times slower: the log output can be read along
    Debug,
    /// So slow that a person can follow each election and each commit
    Demo,
}

/// The timings of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The longest idle wait of the event loop.
    pub event_loop_delay: Duration,
    /// Whether the loop also handles messages and requests only that often, for people to watch.
    pub is_paced: bool,
    /// Time between a leader's heartbeats.
    pub heartbeat_interval: Duration,
    /// The shortest wait without a leader before an election.
    pub election_timeout_min: Duration,
    /// The longest such wait.
    pub election_timeout_max: Duration,
    /// Added to every message to another node.
    pub network_delay: Duration,
    /// Added to every reply to a client.
    pub client_delay: Duration,
}

impl TimingMode {
    /// The values of this preset.
    pub fn timing(self) -> Timing {
        let millis = Duration::from_millis;
        let (event_loop, heartbeat, min, max) = match self {
            Self::Fast => (10, 50, 150, 300),
            Self::Debug => (100, 500, 1500, 3000),
            Self::Demo => (1000, 2000, 5000, 10_000),
        };
        Timing {
            event_loop_delay: millis(event_loop),
            is_paced: self != Self::Fast,
            heartbeat_interval: millis(heartbeat),
            election_timeout_min: millis(min),
            election_timeout_max: millis(max),
            network_delay: Duration::ZERO,
            client_delay: Duration::ZERO,
        }
    }
}

impl Timing {
    /// Checks the bounds between the values, as raft-core does when it starts.
    ///
    /// # Errors
    ///
    /// Which bound is broken, the values that break it, and the flags that set them.
    pub fn validate(&self) -> Result<(), TimingError> {
        let mut config = Config::new(NodeId::new(1));
        self.apply_to(&mut config);
        config.validate().map_err(TimingError::Bound)?;
        if self.event_loop_delay.is_zero() {
            return Err(TimingError::ZeroEventLoopDelay);
        }
        if self.is_paced && self.event_loop_delay >= self.heartbeat_interval {
            return Err(TimingError::EventLoopTooSlow {
                event_loop_delay: self.event_loop_delay,
                heartbeat_interval: self.heartbeat_interval,
            });
        }
        Ok(())
    }

    /// Sets the timings that Raft itself has.
    pub fn apply_to(&self, config: &mut Config) {
        config.heartbeat_interval = self.heartbeat_interval;
        config.election_timeout_min = self.election_timeout_min;
        config.election_timeout_max = self.election_timeout_max;
    }
}

/// Timings that do not fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimingError {
    /// A bound between heartbeats and elections.
    Bound(ConfigError),
    /// The loop would never rest.
    ZeroEventLoopDelay,
    /// A paced loop would take in heartbeats more slowly than they come.
    EventLoopTooSlow {
        /// How far apart its turns are.
        event_loop_delay: Duration,
        /// How far apart heartbeats are.
        heartbeat_interval: Duration,
    },
}

impl fmt::Display for TimingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = match self {
            Self::ZeroEventLoopDelay => {
                return write!(f, "--event-loop-delay is zero: give it at least 1ms");
            }
            Self::EventLoopTooSlow { event_loop_delay, heartbeat_interval } => {
                return write!(
                    f,
                    "the event loop would take in messages every {event_loop_delay:?}, more \
                     slowly than heartbeats come, every {heartbeat_interval:?}: give a shorter \
                     --event-loop-delay or a longer --heartbeat-interval"
                );
            }
            Self::Bound(error) => {
                error.fmt(f)?;
                match error {
                    ConfigError::ZeroHeartbeat => "--heartbeat-interval",
                    ConfigError::HeartbeatTooSlow { .. } => {
                        "--heartbeat-interval or --election-timeout-min"
                    }
                    ConfigError::EmptyElectionRange { .. } => {
                        "--election-timeout-min or --election-timeout-max"
                    }
                    ConfigError::NoLease { .. } | ConfigError::ZeroLimit { .. } => return Ok(()),
                }
            }
        };
        write!(f, "; change {flags}")
    }
}

impl std::error::Error for TimingError {}

/// A [`duration`](flags::duration) that a node can be told: at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = flags::duration(text)?;
        if span > LONGEST {
            return Err("it is longer than a day: give a shorter duration".to_owned());
        }
        Ok(Self(span))
    }
}

/// Sums of durations up to this never overflow, and nobody waits so long.
const LONGEST: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_valid() {
        for mode in [TimingMode::Fast, TimingMode::Debug, TimingMode::Demo] {
            assert_eq!(mode.timing().validate(), Ok(()), "{mode:?}");
        }
    }

    #[test]
    fn a_broken_bound_names_its_values_and_flags() {
        let mut timing = TimingMode::Fast.timing();
        timing.heartbeat_interval = Duration::from_millis(80);
        let said = timing.validate().unwrap_err().to_string();
        assert!(said.contains("80ms") && said.contains("150ms"), "{said}");
        assert!(said.contains("--heartbeat-interval"), "{said}");

        let mut timing = TimingMode::Fast.timing();
        timing.election_timeout_max = Duration::from_millis(150);
        let said = timing.validate().unwrap_err().to_string();
        assert!(said.contains("--election-timeout-max"), "{said}");

        let mut timing = TimingMode::Demo.timing();
        timing.event_loop_delay = timing.heartbeat_interval;
        let said = timing.validate().unwrap_err().to_string();
        assert!(said.contains("every 2s") && said.contains("--event-loop-delay"), "{said}");
    }

    #[test]
    fn durations_are_at_most_a_day() {
        let read = |text: &str| text.parse::<Span>().map(|span| span.0);
        assert_eq!(read("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(read("24h"), Ok(Duration::from_hours(24)));
        for bad in ["-1", "2d", "1441m"] {
            assert!(read(bad).is_err(), "{bad:?} was taken");
        }
    }
}
