//! What a node sees to by itself, now and then, for as long as it runs: that its state is that of
//! the others, and that the past does not grow older than was asked for.
//!
//! It does so as a client, over the ports for clients, of this node among them. So neither
//! consensus nor the log knows of it, no write pays for it, and nothing is done that could not be
//! done by hand.
//!
//! * Every node asks all of them for the digests of their states, and
//!   [compares](crate::compare). A difference is told on standard error when it changes, and to the
//!   loop, which then says so to whoever asks, and serves no more if the node was outvoted.
//! * The leader has old revisions forgotten, by a command in the log.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use kv_client::{Client, Error, Options};
use kv_proto::{Compact, Difference, DigestsReply, Member, Revision, Role};
use log::{debug, error, warn};

use crate::aging::Aging;
use crate::compare::{Comparison, compare};

/// How far apart its rounds are.
const INTERVAL: Duration = Duration::from_secs(2);

/// How long a node may take to answer, beyond the delay that people asked for.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many commands in a row forget what one compaction left: some ten thousand versions.
const SWEEPS_PER_ROUND: usize = 4;

/// What it has to know.
#[derive(Clone, Debug)]
pub struct Steward {
    /// This node.
    pub node_id: u64,
    /// Its cluster.
    pub cluster_id: u64,
    /// Where it serves its own clients.
    pub own_address: String,
    /// By how long answers to clients are held back, for people to watch.
    pub client_delay: Duration,
    /// How long a revision can be read after it was superseded; zero for no such limit.
    pub keep_time: Duration,
}

/// The thread ends when this is dropped.
#[derive(Debug)]
#[must_use = "it ends with this"]
pub struct Stewardship {
    _until_dropped: Sender<()>,
}

impl Steward {
    /// Starts it on a thread of its own. `on_change` hears in what this node's state is found to
    /// differ from that of others, when that changes.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn start(
        self,
        on_change: impl Fn(Option<Difference>) + Send + 'static,
    ) -> io::Result<Stewardship> {
        let (until_dropped, stop) = bounded(0);
        // Nobody waits for the thread: an answer that is late must not hold up a stop.
        std::thread::Builder::new()
            .name("steward".into())
            .spawn(move || self.run(&stop, &on_change))?;
        Ok(Stewardship { _until_dropped: until_dropped })
    }

    fn run(self, stop: &Receiver<()>, on_change: &impl Fn(Option<Difference>)) {
        let mut aging = Aging::new(self.keep_time);
        let mut known: Option<Difference> = None;
        while stop.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let timeout = PATIENCE + 2 * self.client_delay;
            let own = Client::new([self.own_address.clone()], Options { timeout });
            let Ok(mut own) = own else { continue };
            let Ok(status) = own.status(&self.own_address) else { continue };
            let aged = aging.note(Instant::now(), status.header.revision);
            if let (Some(oldest), Role::Leader) = (aged, status.reply.node.role) {
                forget_before(&mut own, oldest);
            }
            let now = self.compare(&own, &status.reply.members).after(known.as_ref());
            if is_news(known.as_ref(), now.as_ref()) {
                tell(self.node_id, now.as_ref());
                known.clone_from(&now);
                on_change(now);
            }
        }
    }

    fn compare(&self, client: &Client, members: &[Member]) -> Comparison {
        if members.len() < 2 {
            return Comparison::default();
        }
        let said = members.iter().filter_map(|member| self.ask(client, member)).collect();
        compare(self.node_id, members.len(), &said)
    }

    fn ask(&self, client: &Client, member: &Member) -> Option<(u64, DigestsReply)> {
        let answer = client.digests(member.client_address.as_ref()?);
        let answer = answer.inspect_err(|why| debug!("node {} tells no digest: {why}", member.id));
        // An address may belong to somebody else by now.
        let is_meant = |id: u64, node: u64| id == self.cluster_id && node == member.id;
        let answer = answer.ok()?;
        is_meant(answer.header.cluster_id, answer.header.node_id)
            .then_some((member.id, answer.reply))
    }
}

/// Has the log forget the revisions before `oldest`.
fn forget_before(own: &mut Client, oldest: Revision) {
    let mut compact = Compact::Revision(oldest);
    for _ in 0..SWEEPS_PER_ROUND {
        match own.compact(compact) {
            Ok(answer) if answer.reply.overdue > 0 => compact = Compact::Keep(u64::MAX),
            // Done; or the number of revisions to keep was the stricter bound.
            Ok(_) | Err(Error::Server(kv_proto::Error::Compacted { .. })) => return,
            // What is left goes with the next compaction.
            Err(why) => return debug!("revisions before {oldest} are not forgotten yet: {why}"),
        }
    }
}

/// Whether people have to hear of it. The index alone changes all the time.
fn is_news(known: Option<&Difference>, now: Option<&Difference>) -> bool {
    let gist = |it: &Difference| (it.others.clone(), it.is_outvoted);
    known.map(gist) != now.map(gist)
}

fn tell(node_id: u64, difference: Option<&Difference>) {
    let Some(Difference { index, others, is_outvoted }) = difference else {
        return warn!("the state of node {node_id} is equal to that of the others again");
    };
    let others: Vec<String> = others.iter().map(u64::to_string).collect();
    let verdict = if *is_outvoted {
        "a majority agrees on another state, so this node does not serve any more: stop it, move \
         its data directory away, and start it with --rejoin"
    } else {
        "no majority says that this one is wrong, so it goes on: compare the nodes with 'kv-cli \
         status'"
    };
    error!(
        "THE STATE OF NODE {node_id} DIFFERS from that of node {} at index {index}; {verdict}",
        others.join(" and node ")
    );
}
