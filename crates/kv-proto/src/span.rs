//! Which keys are meant: a key and a range end, as etcd writes them, parsed once.

use std::ops::Bound;

use crate::error::Error;

/// The range end that means "to the end of the key space".
pub const TO_THE_END: &[u8] = b"\0";

/// The keys that a `key` and a `range_end` mean together.
///
/// Guarantee: in [`Between`](Span::Between) the end is not below the start, so
/// [`bounds`](Span::bounds) can always be given to a `BTreeMap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// This key alone.
    One(&'a [u8]),
    /// From the first key on, up to the second without it.
    Between(&'a [u8], &'a [u8]),
    /// From this key on, to the end of the key space.
    From(&'a [u8]),
}

impl<'a> Span<'a> {
    /// Parses the pair: an empty `range_end` means the one key, `\0` means to the end of the key
    /// space. A `range_end` at or below `key` means nothing at all, which is no error.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyKey`] if `key` is empty. To mean every key, start at `\0`, the smallest one.
    pub fn parse(key: &'a [u8], range_end: &'a [u8]) -> Result<Self, Error> {
        match (key, range_end) {
            ([], _) => Err(Error::EmptyKey),
            (key, []) => Ok(Self::One(key)),
            (key, TO_THE_END) => Ok(Self::From(key)),
            (key, end) => Ok(Self::Between(key, end.max(key))),
        }
    }

    /// The same keys as bounds, for an ordered map.
    pub fn bounds(self) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
        match self {
            Self::One(key) => (Bound::Included(key), Bound::Included(key)),
            Self::Between(start, end) => (Bound::Included(start), Bound::Excluded(end)),
            Self::From(start) => (Bound::Included(start), Bound::Unbounded),
        }
    }

    /// Whether `key` is one of them.
    pub fn contains(self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => key == one,
            Self::Between(start, end) => start <= key && key < end,
            Self::From(start) => start <= key,
        }
    }
}

/// The range end that, with `prefix` as the key, means every key that begins with `prefix`: the
/// smallest key above them all. That does not exist for an empty prefix, or one of only `0xff`:
/// then it is "to the end".
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let Some(last) = prefix.iter().rposition(|byte| *byte < u8::MAX) else {
        return TO_THE_END.to_vec();
    };
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(prefix_end(b"a"), b"b");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"a\xfe\xff\xff"), b"a\xff");
        assert_eq!(prefix_end(b"\xff\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }

    #[test]
    fn a_key_and_a_range_end_are_parsed_as_etcd_means_them() {
        assert_eq!(Span::parse(b"a", b""), Ok(Span::One(b"a")));
        assert_eq!(Span::parse(b"a", b"c"), Ok(Span::Between(b"a", b"c")));
        assert_eq!(Span::parse(b"a", b"\0"), Ok(Span::From(b"a")));
        assert_eq!(Span::parse(b"\0", b"\0"), Ok(Span::From(b"\0")));
        assert_eq!(Span::parse(b"", b"\0"), Err(Error::EmptyKey));
    }

    #[test]
    fn a_range_that_ends_before_it_starts_is_empty_and_safe_for_a_map() {
        let span = Span::parse(b"c", b"a").expect("a key is there");
        assert!(!span.contains(b"b") && !span.contains(b"c"));
        let set = std::collections::BTreeSet::from([b"b".to_vec()]);
        assert_eq!(set.range::<[u8], _>(span.bounds()).count(), 0);
    }
}
