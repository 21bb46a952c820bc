//! What no replicated store can do without: the same bytes on the same ways, and nothing decided.
//!
//! Three processes take the places of three nodes. Clients send requests to the first, the leader,
//! over as many connections as they have; it passes the bytes on to two followers; each of the
//! three writes them into a file of its own and syncs it; and a request is answered when two of
//! them have. Whatever came while a file was synced is written with one sync. Nothing is encoded,
//! checked, put in order, remembered or applied.
//!
//! 1. No request is answered before two of the three files have it, synced.
//! 2. Of the threads of a server there are those that no safe one can do without. Who listens to
//!    another node, or to clients, does not write: a disk that hangs must not keep it from hearing
//!    of its leader. Who listens to nodes does not apply, which may take long: another thread
//!    learns what is committed, and answers.
//! 3. With `--state`, each node writes all bytes once more, behind, as a store must whose memory is
//!    to be bounded by its keys: what is four MiB or half a second old is written and synced, and
//!    when sixteen MiB are not, everybody waits.
//! 4. Everything that waits is bounded in bytes: see `queue`.
//! 5. A node ends when those it listens to have gone, and so has whoever started it.
//!
//! `bare` is the disk without any of it: the same bytes, written and synced.
//!
//! Reading order: `frames` says how many bytes there are, `file` and `queue` where they go, `node`
//! what all three nodes do, then `leader`, `follower`, and `load` with its `tally`.

mod bare;
mod file;
mod follower;
mod frames;
mod leader;
mod load;
mod node;
mod queue;
mod tally;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::failure::{Context, Failure};

/// A process of the floor. `cargo xtask bench --peer floor` starts them.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Role {
    /// Write what the leader sends, and say so
    Follow(node::Options),
    /// Take requests, and pass them on to two followers
    Lead(leader::Options),
    /// Send requests, and print what came of them
    Load(load::Options),
    /// Write and sync without any request, and print what came of it
    Bare(bare::Options),
}

/// Plays a part until it is over.
///
/// # Errors
///
/// If a file or a connection fails.
pub fn play(role: &Role) -> Result<(), Failure> {
    let (name, played) = match role {
        Role::Follow(options) => {
            ("follow", listen().and_then(|it| follower::run(&it, options)).and_then(stay))
        }
        Role::Lead(options) => {
            ("lead", listen().and_then(|it| leader::run(&it, options)).and_then(stay))
        }
        Role::Load(options) => ("load", load::run(options).map(print)),
        Role::Bare(options) => ("bare", bare::run(options).map(print)),
    };
    played.context(|| format!("floor {name}"))
}

/// Takes a port, and says which.
fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address: SocketAddr = listener.local_addr()?;
    writeln!(io::stdout(), "{address}")?;
    Ok(listener)
}

fn print(tally: tally::Tally) {
    println!("{}", tally.into_json());
}

/// Waits until whoever started this lets go of it: a process that has ended cannot be looked at.
fn stay((): ()) -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
