//! Pieces of snapshots: see `crates/kv-store/tests/fuzz/target.rs`. From the
//! top of the repository, with a corpus to begin with:
//!
//! ```text
//! mkdir -p fuzz/corpus/pieces && cp crates/kv-store/tests/corpus/* fuzz/corpus/pieces
//! cargo +nightly fuzz run pieces --sanitizer none -- -max_len=4096
//! ```
//!
//! What it finds goes into the corpus of the crate, where an ordinary test tries it every time.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/kv-store/tests/fuzz/target.rs"]
mod target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = target::check::<kv_store::snapshot::Verifier>(bytes) {
        panic!("{why}");
    }
});
