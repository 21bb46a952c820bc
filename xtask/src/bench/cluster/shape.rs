//! The shapes of load.

/// What is asked of a cluster, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) workload: Workload,
    pub(super) nodes: u16,
    pub(super) connections: u32,
    /// Requests that each connection keeps waiting.
    pub(super) in_flight: u32,
    pub(super) value_size: usize,
    /// Different keys.
    pub(super) keys: u64,
    /// So many requests, instead of so many seconds.
    pub(super) total: Option<u64>,
    /// Connections beside the load that ask nothing.
    pub(super) idle: u32,
    /// What follows, on the same nodes. All keys are written before, and the load is measured by
    /// itself.
    pub(super) sequel: Option<Sequel>,
}

/// What is measured after a load by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequel {
    /// The same load, while snapshots are fetched, one after the other.
    Snapshots,
    /// Half as many requests a second as were done.
    Half,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    Put,
    Get,
    GetStale,
}

impl Workload {
    /// As `kv-cli bench --workload` and the peers' load generator have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::GetStale => "get-stale",
        }
    }
}

/// Three nodes, a hundred connections with ten requests each, 256 bytes at ten thousand keys.
const USUAL: Shape = Shape {
    name: "put",
    meaning: "puts: 100 connections, 10 in flight each, 256 bytes, 3 nodes",
    workload: Workload::Put,
    nodes: 3,
    connections: 100,
    in_flight: 10,
    value_size: 256,
    keys: 10_000,
    total: None,
    idle: 0,
    sequel: None,
};

/// All of them, in the order in which they are run.
pub(super) const SHAPES: [Shape; 19] = [
    Shape {
        name: "put-1x1",
        meaning: "one client, one put at a time",
        connections: 1,
        in_flight: 1,
        ..USUAL
    },
    Shape {
        name: "put-100x1",
        meaning: "a hundred clients, one put at a time each",
        in_flight: 1,
        ..USUAL
    },
    USUAL,
    Shape {
        name: "put-1000x1",
        meaning: "a thousand clients, one put at a time each",
        connections: 1000,
        in_flight: 1,
        ..USUAL
    },
    Shape {
        name: "put-1m",
        meaning: "a million puts to a million keys",
        keys: 1_000_000,
        total: Some(1_000_000),
        ..USUAL
    },
    Shape { name: "put-16b", meaning: "values of 16 bytes", value_size: 16, ..USUAL },
    Shape { name: "put-4k", meaning: "values of 4 KiB", value_size: 4 << 10, ..USUAL },
    Shape {
        name: "put-64k",
        meaning: "values of 64 KiB at a thousand keys",
        value_size: 64 << 10,
        keys: 1000,
        ..USUAL
    },
    Shape { name: "put-1-node", meaning: "one node alone", nodes: 1, ..USUAL },
    Shape { name: "put-5-nodes", meaning: "five nodes", nodes: 5, ..USUAL },
    Shape {
        name: "get-1x1",
        meaning: "one client, one linearizable get at a time",
        workload: Workload::Get,
        connections: 1,
        in_flight: 1,
        ..USUAL
    },
    Shape {
        name: "get-100x1",
        meaning: "a hundred clients, one linearizable get at a time each",
        workload: Workload::Get,
        in_flight: 1,
        ..USUAL
    },
    Shape { name: "get", meaning: "linearizable gets", workload: Workload::Get, ..USUAL },
    Shape {
        name: "get-stale",
        meaning: "gets of what the node has",
        workload: Workload::GetStale,
        ..USUAL
    },
    Shape { name: "put-10-idle", meaning: "ten idle connections beside", idle: 10, ..USUAL },
    Shape { name: "put-1000-idle", meaning: "a thousand of them", idle: 1000, ..USUAL },
    Shape { name: "put-10000-idle", meaning: "ten thousand of them", idle: 10_000, ..USUAL },
    Shape {
        name: "put-snapshot",
        meaning: "puts to a million keys while snapshots are saved; before that, without",
        keys: 1_000_000,
        sequel: Some(Sequel::Snapshots),
        ..USUAL
    },
    Shape {
        name: "put-half",
        meaning: "puts to a million keys, half as many as it can do; before that, all it can do",
        keys: 1_000_000,
        sequel: Some(Sequel::Half),
        ..USUAL
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_shapes_have_the_same_name() {
        let mut names: Vec<&str> = SHAPES.iter().map(|shape| shape.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SHAPES.len());
    }
}
