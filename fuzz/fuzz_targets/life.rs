//! The life of one node, read from bytes: see `crates/raft-core/tests/fuzz/life.rs`. From the top
//! of the repository, with a corpus to begin with:
//!
//! ```text
//! mkdir -p fuzz/corpus/life && cp crates/raft-core/tests/corpus/* fuzz/corpus/life
//! cargo +nightly fuzz run life --sanitizer none -- -max_len=1200
//! ```
//!
//! What it finds becomes a test with its story in `crates/raft-core/tests/regressions.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use raft_core::Raft;

#[path = "../../crates/raft-core/tests/fuzz/bytes.rs"]
mod bytes;
#[path = "../../crates/raft-core/tests/fuzz/life.rs"]
#[expect(dead_code, reason = "what a step did is read where the corpus grows")]
mod life;
#[path = "../../crates/raft-core/tests/fuzz/model.rs"]
mod model;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = life::live::<Raft>(bytes, |_| {}) {
        panic!("{why}");
    }
});
