//! Reads acknowledged writes back.

use kv_client::Client;

use crate::bench::Keys;
use crate::bench::worker::Acknowledged;
use crate::failure::Failure;

/// The most writes that are read back.
const MAX_SAMPLE: usize = 1_000;

/// What came of reading back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verified {
    /// Acknowledged writes that are there.
    pub(crate) present: u64,
    /// Acknowledged writes that are not. Anything but 0 is a loss of data.
    pub(crate) missing: u64,
}

/// Reads the keys of `sample` linearizably. A write is there if its key has the right value, of
/// its own revision or of a later write.
pub(crate) fn read_back(
    sample: &[Acknowledged],
    keys: Keys,
    client: &mut Client,
) -> Result<Verified, Failure> {
    let mut verified = Verified::default();
    let step = sample.len().div_ceil(MAX_SAMPLE).max(1);
    for written in sample.iter().step_by(step) {
        let found = client.get(&keys.key(written.index))?.reply;
        let is_there = found.is_some_and(|pair| {
            pair.mod_revision >= written.revision && *pair.value == *keys.value(written.index)
        });
        verified.present += u64::from(is_there);
        verified.missing += u64::from(!is_there);
    }
    Ok(verified)
}
