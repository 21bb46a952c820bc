//! A follower: it listens to its leader, and tells it what is synced.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::TcpListener;
use std::sync::Arc;

use super::frames;
use super::node::{Node, Options, UNLOGGED_BYTES};

/// How much is read from the leader at once, if it is little.
const BUFFER_BYTES: usize = 64 << 10;

/// Follows the first that connects, until it goes.
pub(super) fn run(listener: &TcpListener, options: &Options) -> io::Result<()> {
    let node = Node::new(options, UNLOGGED_BYTES)?;
    let (leader, _) = listener.accept()?;
    leader.set_nodelay(true)?;
    let mut answers = &leader;
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, &leader);
    node.run(
        |unlogged| loop {
            match frames::read_batch(&mut stream) {
                Ok(batch) => {
                    if !unlogged.push(Arc::new(batch)) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        },
        |position| answers.write_all(&frames::acknowledgement(position)),
    )
}
