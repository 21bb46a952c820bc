//! Where the members of the cluster are reached.

use std::collections::BTreeMap;

use kv_proto::Member;

use crate::members::{Address, Members};

/// The members and their addresses; those for clients are learned from the members themselves.
#[derive(Clone, Debug)]
pub struct Directory {
    members: BTreeMap<u64, Member>,
}

impl Directory {
    /// The directory of the node `own`, which serves its clients at `client_address`.
    pub fn new(members: &Members, own: u64, client_address: String) -> Self {
        let member = |(id, address): (u64, &Address)| {
            (id, Member { id, raft_address: address.to_string(), client_address: None })
        };
        let mut directory = Self { members: members.iter().map(member).collect() };
        directory.learn(own, client_address);
        directory
    }

    /// A member said where it serves its clients.
    pub(crate) fn learn(&mut self, id: u64, client_address: String) {
        if let Some(member) = self.members.get_mut(&id) {
            member.client_address = Some(client_address);
        }
    }

    pub(crate) fn client_address(&self, id: u64) -> Option<String> {
        self.members.get(&id).and_then(|member| member.client_address.clone())
    }

    pub(crate) fn member(&self, id: u64) -> Member {
        let unknown = || Member { id, raft_address: String::new(), client_address: None };
        self.members.get(&id).cloned().unwrap_or_else(unknown)
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.members.values().cloned().collect()
    }
}
