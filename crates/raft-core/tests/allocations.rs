//! What a command costs in allocations: none, where commands come one at a time. A program of its
//! own, because it counts what the whole process allocates.

use std::alloc::System;

use raft_core::{
    Action, Boot, ClusterConfig, Command, Config, Input, NodeId, Raft, RoleKind, Ticket, Time,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Three nodes whose network and disks take no time. The first one leads.
struct Cluster {
    nodes: [Raft; 3],
    /// What each of them wants done.
    actions: [Vec<Action>; 3],
    applied: usize,
}

impl Cluster {
    fn new() -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        let nodes = ids.map(|id| {
            let boot = Boot::new(ClusterConfig::of_voters(ids));
            Raft::restore(Config::new(id), boot, Time::ZERO).expect("the configuration fits")
        });
        let mut cluster = Self { nodes, actions: Default::default(), applied: 0 };
        (0..3).for_each(|node| cluster.step(node, Input::Wake));
        cluster.settle();
        cluster.step(0, Input::Campaign);
        cluster.settle();
        assert_eq!(cluster.nodes[0].status().role, RoleKind::Leader);
        cluster
    }

    fn step(&mut self, node: usize, input: Input) {
        self.nodes[node].step(Time::ZERO, input, &mut self.actions[node]);
    }

    fn settle(&mut self) {
        while let Some(node) = self.actions.iter().position(|actions| !actions.is_empty()) {
            match self.actions[node].remove(0) {
                Action::Send(message) => {
                    let to = usize::try_from(message.to.get() - 1).expect("nodes are few");
                    self.step(to, Input::Message(message));
                }
                Action::Persist(write) => self.step(node, Input::Persisted(write.id)),
                Action::Apply(entries) if node == 0 => self.applied += entries.len(),
                _ => {}
            }
        }
    }

    /// Commits so many batches, and counts the allocations and reallocations that the process
    /// makes meanwhile.
    fn allocations(&mut self, batches: usize, depth: usize) -> usize {
        self.allocations_of(batches, depth, |ticket, command| {
            Input::Propose(vec![(ticket, command); depth])
        })
    }

    /// As [`Cluster::allocations`], for what is proposed in this way.
    fn allocations_of(
        &mut self,
        batches: usize,
        depth: usize,
        propose: impl Fn(Ticket, Command) -> Input,
    ) -> usize {
        let command = Command::from([7; 16]);
        self.applied = 0;
        let region = Region::new(COUNTING);
        for _ in 0..batches {
            self.step(0, propose(Ticket::new(7), command.clone()));
            self.settle();
        }
        let change = region.change();
        assert_eq!(self.applied, batches * depth);
        change.allocations + change.reallocations
    }
}

/// One allocation is the `Vec` that the commands are proposed with. A batch of several commands
/// takes one more, which all nodes, disks and state machines share.
#[test]
fn a_command_alone_allocates_nothing_and_a_batch_once_for_all_nodes() {
    const BATCHES: usize = 1000;
    let mut cluster = Cluster::new();
    for (depth, expected) in [(1, BATCHES), (16, 2 * BATCHES), (256, 2 * BATCHES)] {
        // Queues grow to their size first.
        cluster.allocations(4000, depth);
        let counted = cluster.allocations(BATCHES, depth);
        assert_eq!(counted, expected, "at depth {depth}");
    }
    let alone = |cluster: &mut Cluster| cluster.allocations_of(BATCHES, 1, Input::ProposeOne);
    assert_eq!(alone(&mut cluster), 0, "a command that is proposed by itself");
}
