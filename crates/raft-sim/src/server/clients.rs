//! The clients: what they ask, what they are told, and what every answer is held to.

use std::time::Duration;

use kv_proto::{Consistency, Error, Header, Outcome, Reply as ProtoReply};
use kv_server::clients::Reply;
use kv_server::replica::{ClientTag, Event, Request};
use raft_core::{NodeId, Time};

use super::agenda::Happening;
use super::asked::{self, Value, What};
use super::node::client_address;
use super::plan::Plan;
use super::slips::Slip;
use super::world::World;
use crate::dice::Dice;
use crate::linearizability::{Answer, Call, Operation};
use crate::violation::{Checked, Violation, check};

/// How much longer than it said a client waits before it goes on.
const GRACE: Duration = Duration::from_secs(1);

/// All clients, and all that they ever asked.
#[derive(Debug)]
pub(super) struct Clients {
    dice: Dice,
    asked: Vec<Asked>,
    /// Where each client believes the leader to be.
    leaders: Vec<Option<usize>>,
}

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    number: u64,
    what: What,
    /// Whose next question waits for it, if anybody's does.
    client: Option<usize>,
    at: usize,
    start: u64,
    invoked: u64,
    since: Time,
    timeout: Duration,
    pub(super) fate: Fate,
}

/// What has become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits.
    Open,
    /// It was answered then: each key that it is about held this, or this was replaced.
    Answered { at: u64, found: Vec<(u8, Value)> },
    /// It failed when it was applied, or is none of which a history tells.
    Over,
    /// It never took and will never take effect.
    Refused,
    /// Nobody knows: its server said so, or is gone.
    Unknown,
}

impl Clients {
    pub(super) fn new(plan: &Plan) -> Self {
        let leaders = vec![None; plan.workload.clients];
        Self { dice: Dice::new(plan.seed, "clients"), asked: Vec::new(), leaders }
    }

    pub(super) fn count(&self) -> usize {
        self.leaders.len()
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }

    pub(super) fn fate(&self, number: usize) -> &Fate {
        &self.asked[number].fate
    }

    /// How many requests wait.
    pub(super) fn open(&self) -> usize {
        self.asked.iter().filter(|asked| asked.fate == Fate::Open).count()
    }

    fn draw(&mut self, plan: &Plan) -> What {
        let dice = &mut self.dice;
        let key = u8::try_from(dice.below(u64::from(plan.workload.keys))).unwrap_or(0);
        if dice.chance(plan.workload.read_per_mille) {
            let consistency = dice.pick(&[
                Consistency::Linearizable,
                Consistency::Linearizable,
                Consistency::Linearizable,
                Consistency::Lease,
                Consistency::Stale,
            ]);
            return match dice.below(20) {
                0 => What::Status,
                1 => What::Digests,
                2..5 => What::ReadAll { consistency },
                _ => What::Read { key, consistency },
            };
        }
        match dice.below(100) {
            0..8 => What::Delete { key },
            8..11 => What::DeleteAll,
            11..14 => What::PutLeased { key },
            14..17 => What::Compact { keep: dice.below(20) },
            _ => {
                let longest = plan.workload.value_bytes;
                let length = if dice.chance(100) { longest } else { dice.below(longest / 8 + 1) };
                What::Put { key, value_bytes: usize::try_from(length).unwrap_or(0) }
            }
        }
    }

    /// What the clients have seen.
    pub(super) fn history(&self) -> Vec<Operation> {
        self.asked.iter().flat_map(Asked::operations).collect()
    }
}

impl Asked {
    /// One operation for each key. A stale read promises nothing that a history could tell of.
    fn operations(&self) -> Vec<Operation> {
        let number = self.number;
        let call = match self.what {
            What::Put { .. } => Some(Call::Write(Some(number))),
            What::Delete { .. } | What::DeleteAll => Some(Call::Write(None)),
            What::Read { consistency, .. } | What::ReadAll { consistency } => {
                (consistency != Consistency::Stale).then_some(Call::Read)
            }
            What::PutLeased { .. } | What::Compact { .. } | What::Status | What::Digests => None,
        };
        let answer = |key: u8| match &self.fate {
            Fate::Answered { at, found } => {
                let value = found.iter().find(|(of, _)| *of == key).and_then(|(_, value)| *value);
                Some(Some(Answer { at: *at, value }))
            }
            Fate::Open | Fate::Unknown => Some(None),
            Fate::Over | Fate::Refused => None,
        };
        let invoked = self.invoked;
        let of_key = |key: u8| Some(Operation { key, call: call?, invoked, answer: answer(key)? });
        self.what.keys().into_iter().filter_map(of_key).collect()
    }
}

impl World {
    /// A client thinks, and then asks.
    pub(super) fn think(&mut self, client: usize) {
        let think = self.clients.dice.around(self.plan.workload.think);
        self.later(think, Happening::Ask(client));
    }

    /// A client asks somebody something.
    pub(super) fn ask(&mut self, client: usize) -> Checked {
        if self.mending.as_ref().is_some_and(|mending| !mending.is_loaded()) {
            return Ok(());
        }
        let what = self.clients.draw(&self.plan);
        let anybody = self.clients.dice.place(self.nodes.len());
        let is_faithful = self.clients.dice.chance(900);
        let at = self.clients.leaders[client].filter(|_| is_faithful).unwrap_or(anybody);
        let timeout = self.plan.workload.timeout;
        if self.ask_of(at, what, timeout, Some(client))?.is_none() {
            self.clients.leaders[client] = None;
            self.think(client);
        }
        Ok(())
    }

    /// Asks this of a node; returns the number of the request, unless nobody is there.
    pub(super) fn ask_of(
        &mut self,
        at: usize,
        what: What,
        timeout: Duration,
        client: Option<usize>,
    ) -> Result<Option<usize>, Violation> {
        let (now, invoked) = (self.now, self.steps);
        let Some(process) = &mut self.nodes[at].process else { return Ok(None) };
        let (start, number) = (process.start, self.clients.asked.len());
        let mut sent = what;
        if let (true, What::Read { consistency, .. } | What::ReadAll { consistency }) =
            (self.plan.has(Slip::StaleRead), &mut sent)
        {
            *consistency = Consistency::Stale;
        }
        self.clients.asked.push(Asked {
            number: number as u64,
            what,
            client,
            at,
            start,
            invoked,
            since: now,
            timeout,
            fate: Fate::Open,
        });
        self.note(|| format!("#{number} asks node {} for {what:?}", at + 1));
        if client.is_some() {
            self.later(timeout + GRACE, Happening::Impatience(number));
        }
        let tag = ClientTag { connection: 1, request: number as u64, most_reply_bytes: 0 };
        let request = Request { client: tag, timeout, call: sent.call(number as u64) };
        self.turn(at, vec![Event::Requests(vec![request])])?;
        Ok(Some(number))
    }

    /// A client has waited for long enough; its request may still be answered.
    pub(super) fn lose_patience(&mut self, number: usize) {
        if let Some(client) = self.clients.asked[number].client.take() {
            self.tally.reach("answers not waited for");
            self.clients.leaders[client] = None;
            self.think(client);
        }
    }

    /// A node answers.
    pub(super) fn answered(&mut self, at: usize, reply: Reply) -> Checked {
        let Reply { client: tag, result } = reply;
        let number = usize::try_from(tag.request).unwrap_or(usize::MAX);
        self.note(|| format!("#{number} node {} answers {}", at + 1, brief(&result)));
        let start = self.process(at).map_or(0, |process| process.start);
        let asked = self.clients.asked.get(number).cloned();
        let asked = asked.filter(|asked| asked.at == at && asked.start == start);
        let asked = asked.ok_or_else(|| Violation {
            rule: "an answer belongs to a request",
            detail: format!("node {} answers #{number}", at + 1),
        })?;
        check(asked.fate == Fate::Open, "a request is answered once", || {
            format!("#{number} is answered with {result:?}, and was {:?}", asked.fate)
        })?;
        let hint = match &result {
            Err(Error::NotLeader { leader, client_address }) => {
                self.check_redirect(*leader, client_address.as_ref())?;
                usize::try_from(*leader - 1).ok()
            }
            Err(_) => None,
            Ok(_) => Some(at),
        };
        let fate = match result {
            Ok((header, reply)) => self.check_reply(&asked, &header, &reply)?,
            Err(error) => self.check_failure(&asked, &error)?,
        };
        let asked = &mut self.clients.asked[number];
        asked.fate = fate;
        if let Some(client) = asked.client.take() {
            self.clients.leaders[client] = hint;
            self.think(client);
        }
        Ok(())
    }

    fn check_redirect(&self, leader: u64, address: Option<&String>) -> Checked {
        let is_node = (1..=self.nodes.len() as u64).contains(&leader);
        let right = is_node.then(|| client_address(NodeId::new(leader)));
        check(
            is_node && (address.is_none() || address == right.as_ref()),
            "a redirect leads to a node",
            || format!("node {leader} at {address:?}"),
        )
    }

    /// What was asked for was done, and this came of it.
    fn check_reply(
        &mut self,
        asked: &Asked,
        header: &Header,
        reply: &ProtoReply,
    ) -> Result<Fate, Violation> {
        let (at, number) = (self.steps, asked.number);
        let revision = header.revision.get();
        if asked.what.is_numbered() {
            let outcome = self.ledger.outcome(number).map(|applied| &applied.result);
            check(
                outcome == Some(&Ok(reply.clone())),
                "a write is answered with what it did",
                || format!("#{number} is answered with {reply:?}, and came to {outcome:?}"),
            )?;
            self.tally.reach("writes acknowledged");
        }
        let found = match (&asked.what, reply) {
            (What::Put { key, .. }, ProtoReply::Put(put)) => {
                vec![(*key, put.prev.as_ref().and_then(asked::value_of))]
            }
            (What::Delete { .. } | What::DeleteAll, ProtoReply::Delete(delete)) => {
                let pairs = delete
                    .prev
                    .iter()
                    .filter_map(|kv| Some((*kv.key.first()?, asked::value_of(kv))));
                pairs.collect()
            }
            (
                What::Read { consistency, .. } | What::ReadAll { consistency },
                ProtoReply::Range(range),
            ) => {
                self.tally.reach(match consistency {
                    Consistency::Stale => "stale reads",
                    _ => "linearizable reads",
                });
                let keys = asked.what.keys();
                self.ledger.check_range(revision, &keys, range)?;
                keys.iter().map(|key| (*key, asked::value_in(range, *key))).collect()
            }
            (What::Compact { .. }, ProtoReply::Compact(_))
            | (What::Status, ProtoReply::Status(_)) => return Ok(Fate::Over),
            (What::Digests, ProtoReply::Digests(digests)) => {
                let told = digests.checkpoints.iter().chain([&digests.applied]);
                for digest in told {
                    self.ledger.check_digest(asked.at, (digest.index, digest.digest))?;
                }
                return Ok(Fate::Over);
            }
            (what, reply) => {
                let detail = format!("#{number} {what:?} is answered with {reply:?}");
                return Err(Violation { rule: "an answer fits the question", detail });
            }
        };
        Ok(Fate::Answered { at, found })
    }

    /// The request failed, for this reason.
    fn check_failure(&mut self, asked: &Asked, error: &Error) -> Result<Fate, Violation> {
        let (number, is_write) = (asked.number, asked.what.is_write());
        let deposed = self.process(asked.at).map_or(0, |it| it.deposed_at) >= asked.invoked;
        let stops = self.process(asked.at).is_some_and(|it| it.is_stopping);
        let is_late = self.now.since(asked.since) >= asked.timeout;
        let fate = match error {
            Error::NotLeader { .. } | Error::NoLeader | Error::Busy => Some(Fate::Refused),
            Error::ShuttingDown if stops => Some(Fate::Refused),
            Error::NoSpace { .. } if is_write => {
                self.tally.reach("writes refused for room");
                Some(Fate::Refused)
            }
            Error::Overwritten if is_write => {
                self.tally.reach("writes overwritten");
                Some(Fate::Refused)
            }
            Error::Timeout { outcome: Outcome::NotApplied, .. } if is_late || stops => {
                Some(Fate::Refused)
            }
            Error::Timeout { outcome: Outcome::Unknown, .. } if is_write => {
                (is_late || stops || deposed).then_some(Fate::Unknown)
            }
            Error::LeadershipLost if is_write && deposed => {
                self.tally.reach("writes unknown: leadership lost");
                Some(Fate::Unknown)
            }
            Error::LeaseNotFound { .. } if asked.what.is_numbered() => {
                let outcome = self.ledger.outcome(number).map(|applied| &applied.result);
                (outcome == Some(&Err(error.clone()))).then_some(Fate::Over)
            }
            _ => None,
        };
        let rule = "a failure is of a kind that was promised";
        let fate = fate.ok_or_else(|| Violation {
            rule,
            detail: format!("#{number} {:?} fails with {error:?}", asked.what),
        })?;
        if fate == Fate::Refused && asked.what.is_numbered() {
            self.ledger.refuse(number)?;
        }
        Ok(fate)
    }

    /// A server that has stopped has answered everybody.
    pub(super) fn check_all_answered(&mut self, at: usize) -> Checked {
        let start = self.process(at).map_or(0, |process| process.start);
        let asked = self.clients.asked.iter();
        let open = asked.filter(|it| it.at == at && it.start == start && it.fate == Fate::Open);
        let open: Vec<u64> = open.map(|asked| asked.number).collect();
        check(open.is_empty(), "a server that stops has answered everybody", || {
            format!("node {} has not answered {open:?}", at + 1)
        })
    }

    /// The process of a node is gone: nobody will answer what it was asked.
    pub(super) fn forget_requests(&mut self, at: usize, start: u64) {
        let mut free = Vec::new();
        for asked in &mut self.clients.asked {
            if asked.at == at && asked.start == start && asked.fate == Fate::Open {
                asked.fate = Fate::Unknown;
                free.extend(asked.client.take());
            }
        }
        for client in free {
            self.clients.leaders[client] = None;
            self.think(client);
        }
    }
}

/// An answer in few words.
fn brief(result: &Result<(Header, ProtoReply), Error>) -> String {
    match result {
        Ok((header, reply)) => {
            let mut words = format!("{reply:?}");
            words.truncate(words.floor_char_boundary(120));
            format!("at revision {}: {words}", header.revision)
        }
        Err(error) => format!("{error:?}"),
    }
}
