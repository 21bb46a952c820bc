//! What a disk may have made of the file of peers: see `crates/raft-net-tcp/tests/fuzz/peers.rs`.
//! From the top of the repository, with a corpus to begin with:
//!
//! ```text
//! mkdir -p fuzz/corpus/peers && cp crates/raft-net-tcp/tests/corpus-peers/* fuzz/corpus/peers
//! cargo +nightly fuzz run peers --sanitizer none -- -max_len=4096
//! ```
//!
//! What it finds goes into the corpus of the crate, where an ordinary test tries it every time.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/raft-net-tcp/tests/fuzz/peers.rs"]
mod peers;

fuzz_target!(|bytes: &[u8]| {
    if let Err(why) = peers::check(bytes, peers::read) {
        panic!("{why}");
    }
});
