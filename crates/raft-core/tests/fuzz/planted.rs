//! Mistakes planted round a node, to see that they are noticed.

use raft_core::{Action, Body, Entries, Event, Input, Raft, Time};

use super::life::Subject;

/// A node, and a mistake in what comes out of it, or in what it remembers.
macro_rules! mistakes {
    ($($(#[doc = $doc:expr])+ $name:ident: $mistake:expr;)+) => {
        $($(#[doc = $doc])+
        pub(crate) struct $name(Raft);

        impl Subject for $name {
            fn new(raft: Raft) -> Self {
                Self(raft)
            }

            fn raft(&self) -> &Raft {
                &self.0
            }

            fn step(&mut self, now: Time, input: Input, out: &mut Vec<Action>) {
                let mistake: fn(&mut Raft, Time, Input, &mut Vec<Action>) = $mistake;
                mistake(&mut self.0, now, input, out);
            }
        })+
    };
}

mistakes! {
    /// Votes, and does not remember whom for.
    ForgetsItsVote: |raft, now, input, out| {
        let before = raft.clone();
        let is_vote = match &input {
            Input::Message(message) => matches!(message.body, Body::Vote { .. }),
            _ => false,
        };
        raft.step(now, input, out);
        if is_vote && before.term() == raft.term() && before.status().vote.is_none() {
            *raft = before;
        }
    };
    /// Says what it has to say without waiting for its disk.
    SpeaksTooEarly: |raft, now, input, out| {
        raft.step(now, input, out);
        let writes: Vec<_> = out.iter().filter_map(|action| match action {
            Action::Persist(write) => Some(write.id),
            _ => None,
        }).collect();
        for id in writes {
            let is_sent = |action: &Action| matches!(action, Action::Send(_));
            let mut early = Vec::new();
            raft.clone().step(now, Input::Persisted(id), &mut early);
            out.extend(early.into_iter().filter(is_sent));
        }
    };
    /// Answers the same ticket a second time when it has lost its leadership.
    AnswersTwice: |raft, now, input, out| {
        raft.step(now, input, out);
        let has_lost = |action: &Action| matches!(action, Action::Trace(Event::QuorumLost { .. }));
        if out.iter().any(has_lost) {
            let answers = out.iter().filter(|action| matches!(action, Action::Resolved(..)));
            let answers: Vec<_> = answers.cloned().collect();
            out.extend(answers);
        }
    };
    /// Leaves out the first of several entries to be applied.
    SkipsAnEntry: |raft, now, input, out| {
        raft.step(now, input, out);
        for action in out {
            if let Action::Apply(entries) = action && entries.len() > 2 {
                *entries = entries.slice(1..entries.len());
            }
        }
    };
    /// Believes a late heartbeat that less is committed than it knew.
    GoesBackInCommit: |raft, now, input, out| {
        let told = match &input {
            Input::Message(message) => match message.body {
                Body::Heartbeat { commit, .. } | Body::Append { commit, .. } => Some(commit),
                _ => None,
            },
            _ => None,
        };
        raft.step(now, input, out);
        for action in out {
            if let (Action::Persist(write), Some(told)) = (action, told) {
                write.commit = write.commit.min(told);
            }
        }
    };
    /// Trusts that nobody refuses what was never sent.
    PanicsAtARefusal: |raft, now, input, out| {
        if let Input::Message(message) = &input
            && let Body::AppendRejected { hint, .. } = message.body
            && message.term == raft.term()
        {
            let status = raft.status();
            let is_known = status.peers.iter().any(|peer| peer.id == message.from);
            assert!(!is_known || hint.index <= status.last.index, "a hint beyond the log");
        }
        raft.step(now, input, out);
    };
    /// Takes an append at its word, without looking whether its own log ends there.
    AcknowledgesWhatItLacks: |raft, now, input, out| {
        raft.step(now, input, out);
        for action in out {
            if let Action::Send(message) = action
                && let Body::AppendRejected { prev, .. } = message.body
            {
                message.body = Body::Appended { matched: prev };
            }
        }
    };
    /// Writes an entry again that is in the log already, at the end of it.
    WritesTwice: |raft, now, input, out| {
        raft.step(now, input, out);
        for action in out {
            if let Action::Persist(write) = action && write.entries.len() > 3 {
                let twice = write.entries.iter().chain(write.entries.last()).cloned();
                write.entries = twice.collect::<Entries>();
            }
        }
    };
}
