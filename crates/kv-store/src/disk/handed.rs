//! Large values that were handed out and are still in use.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kv_proto::Bytes;

/// From this size on, a value is shared: below, finding a copy costs as much as making one.
const LARGE_BYTES: usize = 4 << 10;

/// So many may be remembered in vain before it is looked which of them are.
const FEWEST: usize = 64;

/// Remembers who has a large value, so that the next one who asks gets the same copy: a hundred
/// answers that wait for one slow client then hold the value once.
#[derive(Debug, Default)]
pub(crate) struct Handed(Mutex<Values>);

#[derive(Debug, Default)]
struct Values {
    by_record: BTreeMap<u64, Weak<[u8]>>,
    /// When there are so many, those that nobody has any more are forgotten.
    sweep_at: usize,
}

impl Handed {
    /// The value of the record `seq`, if somebody has it.
    pub(crate) fn get(&self, seq: u64) -> Option<Bytes> {
        let values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.by_record.get(&seq)?.upgrade()
    }

    /// Somebody gets this value.
    pub(crate) fn note(&self, seq: u64, value: &Bytes) {
        if value.len() < LARGE_BYTES {
            return;
        }
        let mut values = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if values.by_record.len() >= values.sweep_at.max(FEWEST) {
            values.by_record.retain(|_, value| value.strong_count() > 0);
            values.sweep_at = 2 * values.by_record.len();
        }
        values.by_record.insert(seq, Arc::downgrade(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(size: usize) -> Bytes {
        vec![7; size].into()
    }

    #[test]
    fn who_asks_while_somebody_has_a_large_value_gets_the_same_copy() {
        let handed = Handed::default();
        let (large, small) = (value(LARGE_BYTES), value(LARGE_BYTES - 1));
        handed.note(1, &large);
        handed.note(2, &small);
        assert!(handed.get(1).is_some_and(|again| Arc::ptr_eq(&again, &large)));
        assert_eq!(handed.get(2), None);
        drop(large);
        assert_eq!(handed.get(1), None);
    }

    #[test]
    fn what_nobody_has_is_forgotten_in_time() {
        let handed = Handed::default();
        let kept = value(LARGE_BYTES);
        for seq in 0..10_000 {
            let value = if seq % 100 == 0 { Arc::clone(&kept) } else { value(LARGE_BYTES) };
            handed.note(seq, &value);
        }
        assert!(handed.0.lock().expect("no panic").by_record.len() < 400);
        assert!(handed.get(9_900).is_some());
    }
}
