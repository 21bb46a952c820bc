//! A load generator, and honest about what it measures.
//!
//! 1. Without a rate it is a *closed loop*: every connection keeps a number of requests in flight
//!    and asks again when an answer comes. A slow server is asked less often, so the percentiles
//!    say how long requests took, not how long a world that does not wait would have waited.
//! 2. With a rate it is an *open loop*: requests are due at fixed moments, and a latency runs from
//!    the moment a request was due, also if it could not be sent then because the server was slow.
//! 3. A latency ends when the answer has been read. Nothing is repeated: what fails is an error.
//! 4. The load follows the leader. A connection that is lost, or told that its node does not lead,
//!    is opened anew where the leader is; what was in flight on it is an error, and what is due
//!    meanwhile waits. Without any connection for the timeout of a command, the run ends.
//! 5. At the end every key is read back whose write was acknowledged: it must hold its value, at
//!    the revision of that write or of a later one.
//!
//! Reading order: [`args`](BenchArgs) are the flags, [`plan`] what they amount to, [`nodes`] who is
//! asked. [`keys`] says which request concerns which key, [`pace`] when it is due. [`threads`] run
//! [`driver`]s, each with many connections; [`link`] is one of them, [`reconnect`] finds new ones,
//! [`tally`] is what came of them. [`verify`] reads back, [`progress`] and [`report`] tell.

mod args;
mod driver;
mod files;
mod keys;
mod link;
mod nodes;
mod pace;
mod plan;
mod progress;
mod reconnect;
mod report;
mod tally;
mod threads;
mod verify;

use std::io::Write;

use kv_client::Client;

pub(crate) use crate::bench::args::BenchArgs;

use crate::args::Format;
use crate::bench::keys::Keys;
use crate::bench::plan::Plan;
use crate::bench::report::Report;
use crate::failure::Failure;

/// Runs the bench and prints its report.
pub(crate) fn run(
    args: &BenchArgs,
    client: &mut Client,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let keys = Keys::new(args)?;
    files::raise_limit();
    let timeout = client.options().timeout;
    let plan = Plan::new(args, keys, &client.cluster_status()?, timeout)?;
    if plan.reads() {
        plan.filling().run(format)?.expect_whole()?;
    }
    let idle = plan.open_idle()?;
    let outcome = plan.run(format)?;
    let lost_idle = idle.close();
    let acknowledged = &outcome.tally.acknowledged;
    let (verified, unread) = verify::read_back(acknowledged, &plan.keys, client);
    let report = Report::new(&plan, &outcome, lost_idle, verified);
    report.print(out, format).map_err(Failure::Output)?;
    out.flush().map_err(Failure::Output)?;
    report.judge(unread.as_ref())
}
