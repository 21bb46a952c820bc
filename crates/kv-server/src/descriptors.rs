//! How many files and sockets the operating system lets this process have.
//!
//! Clients get what the log and the other nodes leave: a crowd of idle clients must never keep
//! the log from opening its next file.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept back for the log, the other nodes, and connections on their way in or out.
const RESERVED: u64 = 256;

/// So many clients are let in even where there is little.
const FEWEST_CLIENTS: usize = 16;

/// Raises the limit as far as this process may; returns what it is then. `None` is no limit.
pub fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, highest) {
        Ok(()) => limit.maximum,
        Err(error) => {
            let now = limit.current.map_or_else(|| "none".into(), |limit| limit.to_string());
            warn!("the limit of open files stays as it is ({now}): it cannot be raised: {error}");
            limit.current
        }
    }
}

/// How many clients to let in, if there may be `limit` open files and `wanted` were well.
pub fn max_clients(limit: Option<u64>, wanted: usize) -> usize {
    let Some(limit) = limit else { return wanted };
    let left = usize::try_from(limit.saturating_sub(RESERVED)).unwrap_or(usize::MAX);
    wanted.min(left.max(FEWEST_CLIENTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_is_left_and_always_a_few() {
        assert_eq!(max_clients(None, 1000), 1000);
        assert_eq!(max_clients(Some(1 << 20), 1000), 1000);
        assert_eq!(max_clients(Some(1024), 1000), 768);
        assert_eq!(max_clients(Some(200), 1000), FEWEST_CLIENTS);
    }
}
