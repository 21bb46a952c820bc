//! The hot paths of a put and of a get, each by itself, so that their instructions can be counted.
//!
//! Without an argument it lists the paths: name, steps, and what one step is. With the name of a
//! path it takes the steps of that path twice: once to warm up, so that queues and caches have
//! their size, and once within [`counted`], the function that callgrind is told to look at. What
//! other threads do meanwhile does not count.
//!
//! `cargo xtask bench instructions` builds it, runs it and compares the counts.
//!
//! Reading order: [`paths`] is the list, [`samples`] what travels along them, [`stream`] the socket
//! that it comes from. `consensus`, `protocol`, `network`, `log` and `store` are the paths, one
//! crate of the product each.

mod consensus;
mod log;
mod network;
mod paths;
mod protocol;
mod samples;
mod store;
mod stream;

use std::process::ExitCode;

use paths::PATHS;

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for path in PATHS {
            println!("{} {} {}", path.name, path.steps, path.meaning);
        }
        return ExitCode::SUCCESS;
    };
    let Some(path) = PATHS.iter().find(|path| path.name == name) else {
        eprintln!("hot-paths: there is no path `{name}`: without an argument, all are listed");
        return ExitCode::from(2);
    };
    let mut step = (path.start)(2 * path.steps);
    for _ in 0..path.steps {
        step();
    }
    counted(path.steps, &mut *step);
    ExitCode::SUCCESS
}

/// What is counted. Its name is known to `cargo xtask bench instructions`.
#[inline(never)]
fn counted(steps: u32, step: &mut dyn FnMut()) {
    for _ in 0..steps {
        step();
    }
}
