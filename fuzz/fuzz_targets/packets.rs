//! What nodes send each other: see `crates/raft-net-tcp/tests/fuzz/target.rs`. From the
//! top of the repository, with a corpus to begin with:
//!
//! ```text
//! mkdir -p fuzz/corpus/packets && cp crates/raft-net-tcp/tests/corpus/* fuzz/corpus/packets
//! cargo +nightly fuzz run packets --sanitizer none -- -max_len=4096
//! ```
//!
//! What it finds goes into the corpus of the crate, where an ordinary test tries it every time.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/raft-net-tcp/tests/fuzz/target.rs"]
mod target;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = target::check(bytes, target::read) {
        panic!("{why}");
    }
});
