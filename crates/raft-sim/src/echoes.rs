//! [`Echoes`]: answers that a node has heard, and may hear again after its next start, or when it
//! asks the like. A network that repeats messages keeps some for longer than a process lives.

use std::mem::discriminant;

use raft_core::{Body, Message};

use crate::dice::Dice;

/// One answer of each kind that some node has heard.
#[derive(Debug, Default)]
pub(crate) struct Echoes(Vec<Message>);

impl Echoes {
    /// A node hears this message. Of each kind of answer one is kept, not always the latest.
    pub(crate) fn hear(&mut self, message: &Message, dice: &mut Dice) {
        if !is_answer(&message.body) {
            return;
        }
        let kind = discriminant(&message.body);
        match self.0.iter_mut().find(|kept| discriminant(&kept.body) == kind) {
            Some(kept) if dice.coin() => *kept = message.clone(),
            Some(_) => {}
            None => self.0.push(message.clone()),
        }
    }

    /// An answer from before to what the node asks now, if there is one.
    pub(crate) fn answering(&self, question: &Body) -> Option<&Message> {
        self.0.iter().find(|kept| {
            matches!(
                (question, &kept.body),
                (Body::Recover { .. }, Body::RecoverReply { .. })
                    | (Body::ReadIndex { .. }, Body::ReadIndexReply { .. })
            )
        })
    }

    /// What the node hears once more.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.0.iter()
    }
}

/// Whether this answers something, or is said because of an answer.
fn is_answer(body: &Body) -> bool {
    match body {
        Body::PreVoteReply { .. }
        | Body::VoteReply { .. }
        | Body::TimeoutNow { .. }
        | Body::Appended { .. }
        | Body::AppendRejected { .. }
        | Body::HeartbeatReply { .. }
        | Body::ReadIndexReply { .. }
        | Body::RecoverReply { .. } => true,
        Body::PreVote { .. }
        | Body::Vote { .. }
        | Body::TransferVote { .. }
        | Body::Append { .. }
        | Body::Heartbeat { .. }
        | Body::ReadIndex { .. }
        | Body::Recover { .. }
        | Body::Snapshot(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Index, NodeId, Term};

    use super::*;

    #[test]
    fn one_answer_of_each_kind_is_kept_and_nothing_else() {
        let message =
            |body| Message { from: NodeId::new(2), to: NodeId::new(1), term: Term::new(3), body };
        let (mut echoes, mut dice) = (Echoes::default(), Dice::new(1, "test"));
        for index in 1..=20 {
            let matched = Index::new(index);
            echoes.hear(&message(Body::Appended { matched }), &mut dice);
            echoes.hear(&message(Body::HeartbeatReply { round: index }), &mut dice);
            echoes.hear(&message(Body::Heartbeat { commit: matched, round: index }), &mut dice);
        }
        let kinds: Vec<_> = echoes.iter().map(|kept| is_answer(&kept.body)).collect();
        assert_eq!(kinds, [true, true]);
    }
}
