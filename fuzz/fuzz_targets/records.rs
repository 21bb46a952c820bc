//! Records of the log: see `crates/raft-storage/tests/fuzz/target.rs`. From the
//! top of the repository, with a corpus to begin with:
//!
//! ```text
//! mkdir -p fuzz/corpus/records && cp crates/raft-storage/tests/corpus/* fuzz/corpus/records
//! cargo +nightly fuzz run records --sanitizer none -- -max_len=4096
//! ```
//!
//! What it finds goes into the corpus of the crate, where an ordinary test tries it every time.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/raft-storage/tests/common/mod.rs"]
mod common;
#[path = "../../crates/raft-storage/tests/fuzz/target.rs"]
mod target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = target::check(bytes) {
        panic!("{why}");
    }
});
