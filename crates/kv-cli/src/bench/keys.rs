//! The keys and values of a bench, and which request concerns which key.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::Zipf;

use crate::bench::args::{BenchArgs, Distribution};
use crate::failure::Failure;

/// What every key begins with.
const PREFIX: &str = "bench/";

/// The first key behind all of them.
const END: &str = "bench0";

/// How uneven `zipf` is: what YCSB uses. Of 10 000 keys, a hundred get half of the requests.
const ZIPF_EXPONENT: f64 = 0.99;

/// Every run asks for the same keys in the same order, and has the same values.
const SEED: u64 = 0x006b_765f_6265_6e63;

/// The keys and values of a run. The value at a key is always the same, so that a read can tell
/// whether it is the right one.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    count: u64,
    key_size: usize,
    /// Letters that compress as badly as base64 does. The first of them become the key's number.
    template: Vec<u8>,
}

impl Keys {
    pub(crate) fn new(args: &BenchArgs) -> Result<Self, Failure> {
        let digits = (args.keys - 1).to_string().len();
        let least = PREFIX.len() + digits;
        if args.key_size < least {
            return Err(Failure::Usage(format!(
                "{} keys need {least} bytes each: give a larger --key-size than {}, or fewer \
                 --keys",
                args.keys, args.key_size
            )));
        }
        let mut random = SmallRng::seed_from_u64(SEED);
        let template = (0..args.value_size).map(|_| b'0' + random.random_range(0..64)).collect();
        Ok(Self { count: args.keys, key_size: args.key_size, template })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The size of each value, in bytes.
    pub(crate) fn value_size(&self) -> usize {
        self.template.len()
    }

    /// The key with this number.
    pub(crate) fn key(&self, index: u64) -> Vec<u8> {
        let width = self.key_size - PREFIX.len();
        format!("{PREFIX}{index:0width$}").into_bytes()
    }

    /// The end of a range that begins at an earlier key and goes up to, not including, this one.
    pub(crate) fn end(&self, index: u64) -> Vec<u8> {
        if index < self.count { self.key(index) } else { END.into() }
    }

    /// Makes `value` what the key with this number holds.
    pub(crate) fn write_value(&self, index: u64, value: &mut Vec<u8>) {
        if value.len() != self.template.len() {
            value.clone_from(&self.template);
        }
        for (place, digit) in value.iter_mut().zip(format!("{index:016x}").into_bytes()) {
            *place = digit;
        }
    }
}

/// Draws the keys of one thread's requests.
#[derive(Debug)]
pub(crate) struct Chooser {
    count: u64,
    random: SmallRng,
    zipf: Option<Zipf<f64>>,
    /// For `sequential`: the next one, and how far it is to the one after it.
    next: u64,
    step: u64,
    distribution: Distribution,
}

impl Chooser {
    /// The chooser of thread `thread` of `threads`.
    pub(crate) fn new(distribution: Distribution, keys: &Keys, thread: u32, threads: u32) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "there are far fewer keys than 2^52")]
        let zipf = match distribution {
            Distribution::Zipf => Zipf::new(keys.count as f64, ZIPF_EXPONENT).ok(),
            Distribution::Uniform | Distribution::Sequential => None,
        };
        let random = SmallRng::seed_from_u64(SEED + 1 + u64::from(thread));
        let (next, step) = (u64::from(thread), u64::from(threads));
        Self { count: keys.count, random, zipf, next, step, distribution }
    }

    /// The number of the next key.
    pub(crate) fn choose(&mut self) -> u64 {
        match (self.distribution, &self.zipf) {
            (Distribution::Sequential, _) => {
                let index = self.next % self.count;
                self.next = self.next.wrapping_add(self.step);
                index
            }
            (_, None) => self.random.random_range(0..self.count),
            (_, Some(zipf)) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a rank is a whole number from 1 to the number of keys"
                )]
                let rank = self.random.sample(zipf) as u64;
                // The favourites are spread over the whole range of keys.
                scattered(rank) % self.count
            }
        }
    }

    /// A number from 0 to 99.
    pub(crate) fn percent(&mut self) -> u32 {
        self.random.random_range(0..100)
    }
}

/// The same number for the same rank, and no order among them (the finisher of SplitMix64).
fn scattered(rank: u64) -> u64 {
    let mixed = (rank ^ (rank >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn keys() -> Keys {
        Keys { count: 1_000, key_size: 16, template: vec![b'x'; 40] }
    }

    fn drawn(distribution: Distribution, draws: u64) -> BTreeMap<u64, u64> {
        let mut chooser = Chooser::new(distribution, &keys(), 0, 1);
        let mut times = BTreeMap::new();
        for _ in 0..draws {
            *times.entry(chooser.choose()).or_insert(0) += 1;
        }
        assert!(times.last_key_value().is_some_and(|(index, _)| *index < 1_000));
        times
    }

    #[test]
    fn keys_and_values_have_the_size_asked_for() {
        assert_eq!(keys().key(7), b"bench/0000000007");
        let (mut seven, mut eight) = (Vec::new(), Vec::new());
        keys().write_value(7, &mut seven);
        keys().write_value(8, &mut eight);
        assert_eq!(seven.len(), 40);
        assert_ne!(seven, eight);
        keys().write_value(7, &mut eight);
        assert_eq!(seven, eight);
    }

    #[test]
    fn a_range_ends_behind_the_last_key_whatever_their_width() {
        assert_eq!(keys().end(10), keys().key(10));
        assert!(keys().end(1_000) > keys().key(999));
    }

    #[test]
    fn uniform_reaches_every_key_about_as_often() {
        let drawn = drawn(Distribution::Uniform, 100_000);
        assert_eq!(drawn.len(), 1_000);
        assert!(drawn.values().all(|times| (50..200).contains(times)));
    }

    #[test]
    fn zipf_has_favourites() {
        let drawn = drawn(Distribution::Zipf, 100_000);
        let mut times: Vec<u64> = drawn.into_values().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        assert!(times[..10].iter().sum::<u64>() > 30_000, "{:?}", &times[..10]);
    }

    #[test]
    fn sequential_takes_one_after_the_other_over_all_threads() {
        let mut two =
            [0, 1].map(|thread| Chooser::new(Distribution::Sequential, &keys(), thread, 2));
        let drawn: Vec<u64> = (0..4).map(|turn| two[turn % 2].choose()).collect();
        assert_eq!(drawn, [0, 1, 2, 3]);
    }
}
