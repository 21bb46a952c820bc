//! From `HOST:PORT` to socket addresses, without waiting for a name server for ever.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;

use crate::deadline::Deadline;

/// Checks that `address` looks like `HOST:PORT`, without asking anybody.
pub(crate) fn check(address: &str) -> Result<(), &'static str> {
    match address.rsplit_once(':') {
        None => Err("it has no port: write HOST:PORT"),
        Some(("", _)) => Err("it has no host: write HOST:PORT"),
        Some((_, port)) => match port.parse::<u16>() {
            Ok(0) => Err("port 0 is no port to connect to"),
            Ok(_) => Ok(()),
            Err(_) => Err("its port is not a number from 1 to 65535"),
        },
    }
}

/// Every socket address that `address` stands for. The system's resolver knows no time limit, so
/// for a name it runs on a thread of its own, which is left behind if it takes too long.
pub(crate) fn resolve(address: &str, deadline: &Deadline) -> Result<Vec<SocketAddr>, String> {
    if let Ok(numeric) = address.parse() {
        return Ok(vec![numeric]);
    }
    let (sender, receiver) = mpsc::channel();
    let name = address.to_owned();
    let lookup = move || {
        // Nobody listens any more if it took too long, which is fine.
        let _ = sender.send(name.to_socket_addrs().map(Vec::from_iter));
    };
    thread::Builder::new()
        .name("resolver".into())
        .spawn(lookup)
        .map_err(|error| format!("no thread to look up the name: {error}"))?;
    match receiver.recv_timeout(deadline.remaining().unwrap_or_default()) {
        Ok(Ok(found)) if found.is_empty() => Err("the name has no address".into()),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the name was not resolved in time".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_usable_host_and_port_are_refused() {
        for bad in ["", "host", ":80", "host:", "host:0", "host:65536", "host:http"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for good in ["host:1", "127.0.0.1:65535", "[::1]:80"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }
}
