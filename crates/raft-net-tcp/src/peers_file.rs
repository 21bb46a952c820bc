//! The bytes of the file `peers`: which data directory each peer was met with.
//!
//! ```text
//! offset  size  what
//!      0     8  "RAFTPEER"
//!      8     4  version of the format: 1
//!     12     4  CRC-32C of the 12 bytes before
//!     16     8  name of the directory that the file belongs to
//!     24     4  count of peers, at most 1024
//!     28  16*n  of each peer: its id, the name of its directory; the ids rise
//!  28+16n     4  CRC-32C of everything before
//! ```
//!
//! The version has a checksum of its own and keeps its place in every version to come.

use std::collections::BTreeMap;
use std::fmt;

use raft_core::NodeId;

use crate::directory::DirectoryId;

/// The most peers that are remembered, those among them that are none any more.
pub const MAX_PEERS: usize = 1024;

/// The largest file, in bytes.
pub const MAX_FILE_BYTES: usize = FIXED_BYTES + MAX_PEERS * PEER_BYTES + CHECKSUM_BYTES;

const MAGIC: [u8; 8] = *b"RAFTPEER";
const VERSION: u32 = 1;
const FIXED_BYTES: usize = 28;
const PEER_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 4;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// The directory that it belongs to.
    pub own: DirectoryId,
    /// The directory of each peer, at most [`MAX_PEERS`].
    pub met: BTreeMap<NodeId, DirectoryId>,
}

impl Peers {
    /// Nobody was met yet.
    pub fn of(own: DirectoryId) -> Self {
        Self { own, met: BTreeMap::new() }
    }
}

/// Why bytes are not such a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeersFault {
    /// Something in it is wrong.
    Damaged(&'static str),
    /// It is of a version that this one does not know.
    OtherVersion(u32),
}

impl fmt::Display for PeersFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged(rule) => f.write_str(rule),
            Self::OtherVersion(version) => write!(f, "it is of version {version}"),
        }
    }
}

/// The bytes of the file. What is beyond [`MAX_PEERS`] cannot be read back.
pub fn encode(peers: &Peers) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_BYTES + peers.met.len() * PEER_BYTES + CHECKSUM_BYTES);
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend(wire::checksum(&out).to_le_bytes());
    out.extend(peers.own.get().to_le_bytes());
    out.extend(u32::try_from(peers.met.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (peer, directory) in &peers.met {
        out.extend(peer.get().to_le_bytes());
        out.extend(directory.get().to_le_bytes());
    }
    out.extend(wire::checksum(&out).to_le_bytes());
    out
}

/// What the bytes of a file say.
///
/// # Errors
///
/// If they are damaged, or of another version. No number in them makes it allocate more than the
/// bytes have.
pub fn decode(bytes: &[u8]) -> Result<Peers, PeersFault> {
    let damaged = PeersFault::Damaged;
    let (checked, rest) = bytes.split_at_checked(12).ok_or(damaged("it is too short"))?;
    let (checksum, rest) = take_u32(rest).ok_or(damaged("it is too short"))?;
    if checked[..8] != MAGIC || checksum != wire::checksum(checked) {
        return Err(damaged("its beginning does not match its checksum"));
    }
    match take_u32(&checked[8..]) {
        Some((VERSION, _)) => {}
        other => return Err(PeersFault::OtherVersion(other.map_or(0, |(version, _)| version))),
    }
    let end = bytes.len() - CHECKSUM_BYTES;
    if take_u32(&bytes[end..]).is_none_or(|(said, _)| said != wire::checksum(&bytes[..end])) {
        return Err(damaged("its checksum does not match"));
    }
    let (own, rest) = take_u64(rest).ok_or(damaged("it is too short"))?;
    let (count, mut rest) = take_u32(rest).ok_or(damaged("it is too short"))?;
    let count = count as usize;
    if count > MAX_PEERS || rest.len() != count * PEER_BYTES + CHECKSUM_BYTES {
        return Err(damaged("it has not as many peers as it says"));
    }
    let mut peers = Peers::of(DirectoryId::new(own));
    for _ in 0..count {
        let (peer, directory) = take_peer(&mut rest).ok_or(damaged("it is too short"))?;
        if peers.met.last_key_value().is_some_and(|(last, _)| *last >= peer) {
            return Err(damaged("its peers are not in order"));
        }
        peers.met.insert(peer, directory);
    }
    Ok(peers)
}

fn take_peer(rest: &mut &[u8]) -> Option<(NodeId, DirectoryId)> {
    let (peer, behind) = take_u64(rest)?;
    let (directory, behind) = take_u64(behind)?;
    *rest = behind;
    Some((NodeId::new(peer), DirectoryId::new(directory)))
}

fn take_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers() -> Peers {
        let met = [(2, 0x0102_0304_0506_0708), (5, 0xB5)];
        let met = met.map(|(peer, directory)| (NodeId::new(peer), DirectoryId::new(directory)));
        Peers { own: DirectoryId::new(0xA1), met: met.into() }
    }

    /// These bytes, with a checksum that fits.
    fn summed(mut bytes: Vec<u8>) -> Vec<u8> {
        bytes.truncate(bytes.len() - CHECKSUM_BYTES);
        bytes.extend(wire::checksum(&bytes).to_le_bytes());
        bytes
    }

    fn damage(bytes: &[u8]) -> &'static str {
        match decode(bytes) {
            Err(PeersFault::Damaged(rule)) => rule,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_byte_is_as_documented() {
        let mut expected = b"RAFTPEER\x01\0\0\0".to_vec();
        expected.extend(wire::checksum(&expected).to_le_bytes());
        expected.extend(*b"\xa1\0\0\0\0\0\0\0\x02\0\0\0");
        expected.extend(*b"\x02\0\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01");
        expected.extend(*b"\x05\0\0\0\0\0\0\0\xb5\0\0\0\0\0\0\0");
        expected.extend(wire::checksum(&expected).to_le_bytes());
        assert_eq!(encode(&peers()), expected);
        assert_eq!(decode(&expected), Ok(peers()));
        let nobody = Peers::of(DirectoryId::new(u64::MAX));
        assert_eq!(decode(&encode(&nobody)), Ok(nobody));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let good = encode(&peers());
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            damage(&bytes);
        }
        for len in 0..good.len() {
            damage(&good[..len]);
        }
        damage(&[&good[..], &[0]].concat());
    }

    #[test]
    fn another_version_is_told_from_damage() {
        let mut bytes = encode(&peers());
        bytes[8] = 2;
        let checksum = wire::checksum(&bytes[..12]);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode(&bytes), Err(PeersFault::OtherVersion(2)));
    }

    #[test]
    fn as_many_peers_as_it_says_in_their_order_and_no_more_than_fit() {
        let mut wrong_count = encode(&peers());
        wrong_count[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(damage(&summed(wrong_count)).contains("as many"));
        let mut twice = encode(&peers());
        twice[44] = 2;
        assert!(damage(&summed(twice)).contains("order"));
        let crowd = |count: u64| {
            let met = (0..count).map(|peer| (NodeId::new(peer), DirectoryId::new(peer)));
            Peers { own: DirectoryId::new(1), met: met.collect() }
        };
        let most = encode(&crowd(MAX_PEERS as u64));
        assert_eq!(most.len(), MAX_FILE_BYTES);
        assert!(decode(&most).is_ok());
        damage(&encode(&crowd(MAX_PEERS as u64 + 1)));
    }
}
