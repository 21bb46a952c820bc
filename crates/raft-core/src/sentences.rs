//! What is refused, in one sentence each: what was wrong, with which value, and what to do.

use core::fmt;

use crate::api::Rejection;

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => {
                write!(f, "this node does not lead: ask {leader}, which does")
            }
            Self::NotLeader { leader: None } => {
                write!(f, "this node does not lead, and knows nobody who does: ask again shortly")
            }
            Self::Busy => write!(f, "as much is pending as the limits allow: try again later"),
            Self::ChangeUnderWay => {
                write!(f, "another change of the members is not finished: wait until it is")
            }
            Self::NotReady => write!(
                f,
                "this leader has not yet committed an entry of its own term: try again shortly"
            ),
            Self::NotCaughtUp { node, behind: 0 } => {
                write!(f, "{node} cannot vote yet: nothing was heard of it for a while")
            }
            Self::NotCaughtUp { node, behind } => write!(
                f,
                "{node} cannot vote yet: it lacks {behind} entries; add it as a learner, and wait \
                 until it has caught up"
            ),
            Self::UnknownMember { node } => {
                write!(f, "{node} is no member of the cluster that could do that")
            }
            Self::NoVoters => write!(f, "nobody would be left to vote: keep one voter at least"),
            Self::NoChange => write!(f, "the members are like that already"),
            Self::TransferUnderWay { to } => {
                write!(f, "leadership is being handed over to {to}: ask there shortly")
            }
            Self::Leaving => {
                write!(f, "this leader is leaving the cluster: ask whoever leads next, in a moment")
            }
            Self::TransferFailed { leader: Some(leader) } => {
                write!(f, "leadership was not handed over as asked for: {leader} leads now")
            }
            Self::TransferFailed { leader: None } => {
                write!(f, "leadership was not handed over as asked for, and nobody leads now")
            }
            Self::TooLarge { size_bytes, limit_bytes } => {
                write!(f, "it has {size_bytes} bytes, above the limit of {limit_bytes}: split it")
            }
        }
    }
}

impl core::error::Error for Rejection {}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::types::NodeId;

    #[test]
    fn a_refusal_names_the_value_and_says_what_to_do() {
        let node = NodeId::new(4);
        let told = Rejection::NotCaughtUp { node, behind: 7 }.to_string();
        let expected = "n4 cannot vote yet: it lacks 7 entries; add it as a learner, and wait \
                        until it has caught up";
        assert_eq!(told, expected);
        let told = Rejection::NotLeader { leader: Some(node) }.to_string();
        assert_eq!(told, "this node does not lead: ask n4, which does");
        let told = Rejection::TooLarge { size_bytes: 9, limit_bytes: 8 }.to_string();
        assert_eq!(told, "it has 9 bytes, above the limit of 8: split it");
    }
}
