//! The greeting: who calls whom, what for, of which cluster, in which version of the protocol.
//!
//! The caller sends a [`Hello`], the other node answers with a [`Reply`]; each is one frame of at
//! most [`MAX_BODY_BYTES`]. Both begin with a [`Preamble`], and a refusal follows it in the same
//! form in every version, so that nodes of different versions can at least tell each other so.
//!
//! From version 2 on, both say behind that which data directory they have: a [`Claim`]. The answer
//! is in the version of the call. Who is refused because the other side knows only an earlier
//! version calls again in that one.

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use raft_core::NodeId;
use serde::{Deserialize, Serialize};
use wire::codec;
use wire::frame::{FrameError, FrameReader, write_frame};

use crate::directory::Claim;
use crate::event::{Refusal, RefusalCode};

/// The newest version of everything after the preamble, the messages included.
pub(crate) const VERSION: u32 = 2;

/// The versions that are spoken.
const SPOKEN: RangeInclusive<u32> = 1..=VERSION;

/// The first version in which nodes tell which data directory they have.
const TELLS_DIRECTORY: u32 = 2;

/// The largest body of a frame in the greeting.
pub(crate) const MAX_BODY_BYTES: usize = 1024;

/// The longest address for clients.
pub(crate) const MAX_CLIENT_ADDRESS_BYTES: usize = 255;

/// The longest sentence of a refusal.
const MAX_SENTENCE_BYTES: usize = 512;

/// What a connection is for: told by the magic with which both greetings begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// For Raft messages, as long as both sides live.
    Messages,
    /// For one snapshot. A release that knows of no snapshots does not know this magic either, and
    /// closes the connection: its messages go on.
    Snapshot,
}

impl Purpose {
    const ALL: [Self; 2] = [Self::Messages, Self::Snapshot];

    fn magic(self) -> [u8; 8] {
        match self {
            Self::Messages => *b"raft-tcp",
            Self::Snapshot => *b"raft-snp",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Preamble {
    magic: [u8; 8],
    version: u32,
}

/// What a connection is for, and how both sides speak on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) purpose: Purpose,
    pub(crate) version: u32,
}

impl Terms {
    /// On which to call a peer of which nothing is known.
    pub(crate) fn newest(purpose: Purpose) -> Self {
        Self { purpose, version: VERSION }
    }
}

/// What a caller says about itself and about whom it wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) cluster_id: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Where clients reach the caller; empty if it does not say.
    pub(crate) client_address: String,
    /// Behind the rest, and only from version 2 on.
    #[serde(skip)]
    pub(crate) claim: Claim,
}

/// What the called node answers. The order of the variants is their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Reply {
    /// In the same form in every version.
    Refused { code: u32, sentence: String },
    /// Messages may follow. From version 2 on, a [`Claim`] stands behind it.
    Accepted { client_address: String },
}

/// What a called node said.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The caller is let in.
    Welcome(Welcome),
    /// It is not.
    Refused(Refusal),
    /// The called node speaks no version later than this one, in which it can be called again.
    CallAgainIn(u32),
}

/// What a node says that lets a caller in.
#[derive(Debug)]
pub(crate) struct Welcome {
    /// Where clients reach it, if it told.
    pub(crate) client_address: Option<String>,
    pub(crate) claim: Claim,
}

/// Who this node is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node_id: NodeId,
    pub(crate) cluster_id: u64,
    pub(crate) client_address: String,
    pub(crate) claim: Claim,
}

/// Why there is no greeting.
#[derive(Debug)]
pub(crate) enum GreetingError {
    /// The connection broke.
    Io(io::Error),
    /// The other side closed it.
    Closed,
    /// The other side took too long.
    TooSlow(Duration),
    /// What came is not of this protocol.
    NotOurs(String),
}

/// Whether `address` may be told as an address for clients: short, and without anything that could
/// break a line. Empty means that there is none.
pub(crate) fn is_client_address(address: &str) -> bool {
    address.len() <= MAX_CLIENT_ADDRESS_BYTES
        && !address.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// The address for clients, if one was told.
pub(crate) fn told(client_address: String) -> Option<String> {
    Some(client_address).filter(|address| !address.is_empty())
}

impl Identity {
    /// The frame with which this node calls `to`.
    pub(crate) fn hello(&self, terms: Terms, to: NodeId) -> Vec<u8> {
        let said = Hello {
            cluster_id: self.cluster_id,
            from: self.node_id.get(),
            to: to.get(),
            client_address: self.client_address.clone(),
            claim: self.claim,
        };
        self.with_claim(terms, said)
    }

    /// The frame with which this node lets a caller in.
    pub(crate) fn acceptance(&self, terms: Terms) -> Vec<u8> {
        self.with_claim(terms, Reply::Accepted { client_address: self.client_address.clone() })
    }

    fn with_claim(&self, terms: Terms, said: impl Serialize) -> Vec<u8> {
        match terms.version {
            TELLS_DIRECTORY.. => encode(terms, &(said, self.claim)),
            _ => encode(terms, &said),
        }
    }

    /// The caller's name, if this node wants to talk to it.
    pub(crate) fn judge(
        &self,
        hello: &Hello,
        is_peer: impl Fn(NodeId) -> bool,
    ) -> Result<NodeId, Refusal> {
        let (me, from, to) = (self.node_id, NodeId::new(hello.from), NodeId::new(hello.to));
        let refuse = |code, sentence| Err(Refusal { code, sentence });
        if hello.cluster_id != self.cluster_id {
            let (theirs, ours) = (hello.cluster_id, self.cluster_id);
            return refuse(
                RefusalCode::Cluster,
                format!(
                    "{from} is of cluster {theirs:#x} and {me} of cluster {ours:#x}: start both \
                     with the same members, or correct the address"
                ),
            );
        }
        if to != me {
            return refuse(
                RefusalCode::Receiver,
                format!("{from} called {to}, but this is {me}: correct the address of {to}"),
            );
        }
        if from == me {
            return refuse(
                RefusalCode::Sender,
                format!("the caller and the called node are both {me}: give each its own id"),
            );
        }
        if !is_peer(from) {
            return refuse(
                RefusalCode::Sender,
                format!("{from} is not among the peers of {me}: add it there, or correct its id"),
            );
        }
        if !is_client_address(&hello.client_address) {
            return refuse(
                RefusalCode::Malformed,
                format!("the client address that {from} tells is too long or has white space"),
            );
        }
        Ok(from)
    }
}

/// The frame that turns a caller away.
pub(crate) fn refusal_frame(terms: Terms, refusal: &Refusal) -> Vec<u8> {
    let (code, sentence) = (refusal.code.into(), refusal.sentence.clone());
    encode(terms, &Reply::Refused { code, sentence })
}

fn encode(terms: Terms, said: &impl Serialize) -> Vec<u8> {
    let preamble = Preamble { magic: terms.purpose.magic(), version: terms.version };
    let mut frame = Vec::new();
    // Both are a few hundred bytes at most: what is too long is refused when the network starts.
    // An empty frame would end the greeting like any other failure.
    if write_frame(&mut frame, &(preamble, said), &[]).is_err() {
        frame.clear();
    }
    frame
}

/// What a caller wants, and what it said. An inner error is a caller of this protocol who is to be
/// told why not, on terms that it understands if any node does.
pub(crate) fn read_hello(body: &[u8]) -> Result<(Terms, Result<Hello, Refusal>), GreetingError> {
    let (purpose, version, rest) = read_preamble(body)?;
    if !SPOKEN.contains(&version) {
        let refusal = Refusal {
            code: RefusalCode::Version,
            sentence: format!(
                "the caller speaks version {version} of the Raft protocol, this node version \
                 {VERSION}: run the same release on both"
            ),
        };
        return Ok((Terms::newest(purpose), Err(refusal)));
    }
    let hello = match version {
        TELLS_DIRECTORY.. => codec::decode_all(rest).map(|(hello, claim)| Hello { claim, ..hello }),
        _ => codec::decode_all(rest),
    };
    let hello = hello.map_err(|error| Refusal {
        code: RefusalCode::Malformed,
        sentence: format!("the greeting makes no sense: {error}; run the same release on both"),
    });
    Ok((Terms { purpose, version }, hello))
}

/// What a node answered that was called on these terms.
pub(crate) fn read_answer(terms: Terms, body: &[u8]) -> Result<Answer, GreetingError> {
    let (purpose, version, rest) = read_preamble(body)?;
    if purpose != terms.purpose {
        return Err(malformed(&"an answer to another question"));
    }
    let (reply, rest) = codec::decode(rest).map_err(|error| malformed(&error))?;
    match reply {
        Reply::Refused { code, sentence } => {
            let refusal = read_refusal(code, sentence, rest)?;
            let is_older = version < terms.version && SPOKEN.contains(&version);
            if refusal.code == RefusalCode::Version && is_older {
                return Ok(Answer::CallAgainIn(version));
            }
            Ok(Answer::Refused(refusal))
        }
        Reply::Accepted { .. } if version != terms.version => {
            Err(malformed(&"an acceptance in another version of the protocol"))
        }
        Reply::Accepted { client_address } if is_client_address(&client_address) => {
            let claim = read_claim(version, rest)?;
            Ok(Answer::Welcome(Welcome { client_address: told(client_address), claim }))
        }
        Reply::Accepted { .. } => Err(malformed(&"a client address that cannot be one")),
    }
}

fn read_refusal(code: u32, sentence: String, rest: &[u8]) -> Result<Refusal, GreetingError> {
    if sentence.len() > MAX_SENTENCE_BYTES || !rest.is_empty() {
        return Err(malformed(&"a refusal that is too long"));
    }
    Ok(Refusal { code: RefusalCode::from(code), sentence })
}

fn read_claim(version: u32, rest: &[u8]) -> Result<Claim, GreetingError> {
    match version {
        TELLS_DIRECTORY.. => codec::decode_all(rest).map_err(|error| malformed(&error)),
        _ if rest.is_empty() => Ok(Claim::default()),
        _ => Err(malformed(&"an acceptance that is too long")),
    }
}

fn malformed(what: &dyn fmt::Display) -> GreetingError {
    GreetingError::NotOurs(what.to_string())
}

fn read_preamble(body: &[u8]) -> Result<(Purpose, u32, &[u8]), GreetingError> {
    if let Ok((Preamble { magic, version }, rest)) = codec::decode(body)
        && let Some(purpose) = Purpose::ALL.into_iter().find(|it| it.magic() == magic)
    {
        return Ok((purpose, version, rest));
    }
    let unknown = "what came first is no greeting of a node; clients have a port of their own";
    Err(GreetingError::NotOurs(unknown.into()))
}

/// The body of the next frame, waited for until `patience` is over, however slowly it trickles in.
pub(crate) fn read_frame(
    stream: &TcpStream,
    frames: &mut FrameReader,
    patience: Duration,
) -> Result<Vec<u8>, GreetingError> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(body) = frames.next_frame()? {
            return Ok(body.to_vec());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(GreetingError::TooSlow(patience));
        }
        stream.set_read_timeout(Some(left))?;
        match frames.fill(&mut &*stream) {
            Ok(0) => return Err(GreetingError::Closed),
            Ok(_) => {}
            Err(error) if is_interruption(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a socket only says that its time was over, or that it was called away.
pub(crate) fn is_interruption(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

impl From<io::Error> for GreetingError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<FrameError> for GreetingError {
    fn from(error: FrameError) -> Self {
        Self::NotOurs(error.to_string())
    }
}

impl fmt::Display for GreetingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Closed => write!(f, "it closed the connection during the greeting"),
            Self::TooSlow(patience) => write!(f, "no greeting came within {patience:?}"),
            Self::NotOurs(what) => write!(f, "it does not speak the Raft protocol: {what}"),
        }
    }
}
