//! Looks for bytes that a decoder cannot bear: those of a corpus, and many that are like them.
//!
//! Every target of this is a function from bytes to what is wrong, in `tests/fuzz` of its crate. An
//! ordinary test hunts for a moment, always in the same way; `fuzz/` at the top of the repository
//! lets libFuzzer hunt for as long as one likes. What is found goes into the corpus, for good.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The longest string that is tried.
const MAX_BYTES: usize = 4096;

/// The most changes that are made to a string at once.
const MAX_CHANGES: usize = 5;

/// Numbers at which lengths and counts are decided.
const EDGES: [u64; 12] =
    [0, 1, 2, 4, 127, 255, 256, 496, 512, u32::MAX as u64, u64::MAX / 2, u64::MAX];

/// Bytes that broke something, and what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
    /// What is wrong.
    pub(crate) why: String,
}

/// The strings in a folder, in the order of their names.
pub(crate) fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("the folder of a corpus");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "there is no corpus in {}", folder.display());
    paths.iter().map(|path| std::fs::read(path).expect("a string of bytes")).collect()
}

/// Tries every string of the corpus, then `rounds` changed ones. A panic is a finding like others.
pub(crate) fn hunt(
    corpus: &[Vec<u8>],
    rounds: u32,
    check: impl Fn(&[u8]) -> Result<(), String>,
) -> Option<Found> {
    let tried = |bytes: Vec<u8>| {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
        let why = match outcome {
            Ok(Ok(())) => return None,
            Ok(Err(why)) => why,
            Err(_) => "it panicked".to_owned(),
        };
        Some(Found { bytes, why })
    };
    let mut random = Random(0x68_75_6e_74);
    let changed = (0..rounds).map(|_| change(corpus, &mut random));
    corpus.iter().cloned().chain(changed).find_map(tried)
}

/// A string like one of the corpus.
fn change(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(MAX_CHANGES) {
        let at = random.below(bytes.len() + 1);
        let rest = bytes.len() - at;
        match random.below(8) {
            0 if rest > 0 => bytes[at] ^= 1 << random.below(8),
            1 if rest > 0 => bytes[at] = random.next().to_le_bytes()[0],
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.next().to_le_bytes()[0]),
            4 if rest > 0 => drop(bytes.drain(at..at + 1 + random.below(rest.min(16)))),
            5 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                let end = other.len().min(from + random.below(64));
                let piece = other[from..end].to_vec();
                bytes.splice(at..at, piece);
            }
            6 | 7 => {
                let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4)].min(rest);
                bytes[at..at + width].copy_from_slice(&edge[..width]);
            }
            _ => {}
        }
    }
    bytes.truncate(MAX_BYTES);
    bytes
}

/// Numbers that look random, and are the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below the end")
    }
}

/// Whether the corpus has these strings, by their names. With `WRITE_CORPUS=1` they are put there.
pub(crate) fn corpus_has(folder: &Path, seeds: &[(&str, Vec<u8>)]) -> Result<(), String> {
    for (name, bytes) in seeds {
        let path = folder.join(name);
        if std::env::var_os("WRITE_CORPUS").is_some() {
            std::fs::create_dir_all(folder).expect("a folder for the corpus");
            std::fs::write(&path, bytes).expect("the corpus can be written");
        }
        if std::fs::read(&path).ok().as_ref() != Some(bytes) {
            return Err(format!("{name} is not what it should be: see to it with WRITE_CORPUS=1"));
        }
    }
    Ok(())
}
