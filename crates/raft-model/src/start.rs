//! How a cluster begins.

use raft_core::{Input, NodeId, Time};

use crate::drive::Drive;
use crate::model::ClusterModel;
use crate::network::Network;
use crate::node::SOON;
use crate::past::Past;
use crate::scenario::Start;
use crate::state::State;

/// The first state of the scenario; none if a node refuses to start.
pub(crate) fn first_state(model: &ClusterModel) -> Option<State> {
    let empty = State {
        nodes: Vec::new(),
        network: Network::default(),
        past: Past::default(),
        left: model.scenario.budget,
        changes_begun: 0,
        broken: None,
    };
    let state = calm(model, Drive::new(model, &empty).start()?)?;
    match model.scenario.start {
        Start::Empty => Some(state),
        Start::Led => led(model, &state),
    }
}

/// `n1` is elected, everybody has its first entry, and knows that it is committed.
fn led(model: &ClusterModel, state: &State) -> Option<State> {
    let leader = NodeId::new(1);
    let elected = Drive::new(model, state).input(leader, Time::ZERO, Input::Campaign)?;
    let elected = calm(model, elected)?;
    let told = Drive::new(model, &elected).input(leader, SOON, Input::Wake)?;
    calm(model, told)
}

/// Everything under way arrives, everything written becomes durable.
fn calm(model: &ClusterModel, mut state: State) -> Option<State> {
    loop {
        let busy = model.scenario.ids().find(|id| state.node(*id).disk.is_busy());
        let message = state.network.iter().next().cloned();
        state = match (busy, message) {
            (Some(id), _) => Drive::new(model, &state).persist(id)?,
            (None, Some(message)) => Drive::new(model, &state).deliver(&message, false)?,
            (None, None) => return Some(state),
        };
    }
}
