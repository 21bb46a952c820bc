//! How every node is: a table for people, an object for programs.

use std::io::{self, Write};

use comfy_table::Table;
use comfy_table::presets::{self, UTF8_BORDERS_ONLY};
use kv_client::kv_proto::{Difference, DiskState, NodeStatus, Role, Sending};
use kv_client::{ClusterStatus, NodeRow};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::args::Format;
use crate::output;

/// What is shown where a node that is down has nothing to say.
const NOTHING: &str = "-";

/// Prints the cluster's status.
pub(crate) fn print(
    out: &mut impl Write,
    format: Format,
    cluster: &ClusterStatus,
) -> io::Result<()> {
    match format {
        Format::Text => {
            writeln!(out, "{}\n{}", table(cluster, terminal_columns()), summary(cluster))
        }
        Format::Json => output::json(out, &JsonStatus::from(cluster)),
    }
}

/// How many characters a line of the terminal has; `None` if the output goes elsewhere.
fn terminal_columns() -> Option<usize> {
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A row for each node. Where a terminal is too narrow, what is only for the eye is left out.
fn table(cluster: &ClusterStatus, terminal_columns: Option<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY);
    table.set_header([
        "node", "role", "term", "leader", "commit", "applied", "last", "raft", "clients",
    ]);
    for row in &cluster.nodes {
        table.add_row(cells(row));
    }
    let columns = table.lines().map(|line| line.chars().count()).max();
    if terminal_columns.is_some() && terminal_columns < columns {
        table.load_style(presets::NOTHING);
        for column in table.column_iter_mut() {
            column.set_padding((0, 1));
        }
        if let Some(last) = table.column_iter_mut().last() {
            last.set_padding((0, 0));
        }
    }
    table
}

fn cells(row: &NodeRow) -> [String; 9] {
    let status = row.status.as_ref().ok();
    let number = |of: fn(&NodeStatus) -> u64| {
        status.map_or_else(|| NOTHING.to_owned(), |status| of(status).to_string())
    };
    let leader = status.and_then(|status| status.leader);
    [
        row.member.id.to_string(),
        role(row).into(),
        number(|status| status.term),
        leader.map_or_else(|| NOTHING.into(), |leader| leader.to_string()),
        number(|status| status.commit_index),
        number(|status| status.applied_index),
        number(|status| status.last_index),
        row.member.raft_address.clone(),
        row.member.client_address.clone().unwrap_or_else(|| NOTHING.into()),
    ]
}

fn role(row: &NodeRow) -> &'static str {
    row.status.as_ref().map_or("down", |status| status.role.name())
}

/// The one line to read when there is time for one.
fn summary(cluster: &ClusterStatus) -> String {
    let up = cluster.nodes.iter().filter(|row| row.status.is_ok()).count();
    let all = cluster.nodes.len();
    let needed = all / 2 + 1;
    let leads = match leader(cluster) {
        Some((id, term)) => format!("node {id} leads in term {term}"),
        None if up < needed => {
            format!("no majority, which is {needed}: nothing is read or written until more are up")
        }
        None => "no leader: reads and writes wait for an election".into(),
    };
    let mut lines = vec![format!("{up} of {all} nodes up; {leads}")];
    for row in &cluster.nodes {
        if let Err(reason) = &row.status {
            lines.push(format!("node {} is down: {reason}", row.member.id));
        }
        if let Some(trouble) = row.status.as_ref().ok().and_then(|node| trouble(node.disk)) {
            lines.push(format!("WARNING: the disk of node {} {trouble}", row.member.id));
        }
        for sending in row.status.iter().flat_map(|node| &node.sending) {
            lines.push(on_its_way(row.member.id, sending));
        }
        if let Some(difference) = &row.difference {
            lines.push(warning(row.member.id, difference));
        }
    }
    lines.join("\n")
}

/// What a person must know of a disk that is not fine.
fn trouble(disk: DiskState) -> Option<&'static str> {
    match disk {
        DiskState::Fine => None,
        DiskState::Slow => Some("is slow: a write has waited for longer than an election takes"),
        DiskState::Full => Some(
            "is full: the node takes no writes until there is room, and leads only if no other can",
        ),
    }
}

/// What a person wants to know who waits for a node to have everything back.
fn on_its_way(from: u64, sending: &Sending) -> String {
    let Sending { to, bytes, done, total, .. } = *sending;
    let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
    let sent = output::size(bytes);
    format!(
        "node {from} sends node {to} a snapshot, which lacks what was cut off the log: {sent} \
             so far, {percent}%"
    )
}

/// What a person must know of a node whose state differs.
fn warning(id: u64, difference: &Difference) -> String {
    let others: Vec<String> = difference.others.iter().map(u64::to_string).collect();
    let index = difference.index;
    let verdict = if difference.is_outvoted {
        "a majority agrees on another, so this node does not serve: stop it, move its data \
         directory away, and start it with --rejoin"
    } else {
        "nobody can tell which is right: save a snapshot of each, and compare them"
    };
    let plural = if others.len() == 1 { "node" } else { "nodes" };
    format!(
        "WARNING: the state of node {id} differs from that of {plural} {} at index {index}; \
         {verdict}",
        others.join(", ")
    )
}

/// Who leads: of several that think so, the one in the latest term is right.
pub(crate) fn leader(cluster: &ClusterStatus) -> Option<(u64, u64)> {
    let leaders = cluster.nodes.iter().filter_map(|row| {
        let status = row.status.as_ref().ok()?;
        (status.role == Role::Leader).then_some((row.member.id, status.term))
    });
    leaders.max_by_key(|(_, term)| *term)
}

#[derive(Serialize)]
struct JsonStatus {
    /// In hexadecimal, as the servers take and tell it.
    cluster_id: String,
    nodes: Vec<JsonNode>,
}

/// The numbers of a node that is down are null.
#[derive(Serialize)]
struct JsonNode {
    id: u64,
    address: String,
    client_address: Option<String>,
    role: &'static str,
    term: Option<u64>,
    leader: Option<u64>,
    commit_index: Option<u64>,
    applied_index: Option<u64>,
    last_index: Option<u64>,
    version: Option<String>,
    disk: Option<&'static str>,
    /// In hexadecimal: many readers of JSON keep only 53 bits of a number.
    state_digest: Option<String>,
    /// The snapshots that it sends to nodes that lack what was cut off the log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sending: Vec<Sending>,
    /// The nodes from whose state its own differs, if it knows any.
    #[serde(skip_serializing_if = "Option::is_none")]
    differs_from: Option<Vec<u64>>,
    /// Whether a majority agrees on another state, so that this node does not serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_outvoted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<&ClusterStatus> for JsonStatus {
    fn from(cluster: &ClusterStatus) -> Self {
        let nodes = cluster.nodes.iter().map(JsonNode::from).collect();
        Self { cluster_id: format!("{:016x}", cluster.cluster_id), nodes }
    }
}

impl From<&NodeRow> for JsonNode {
    fn from(row: &NodeRow) -> Self {
        let status = row.status.as_ref().ok();
        Self {
            id: row.member.id,
            address: row.member.raft_address.clone(),
            client_address: row.member.client_address.clone(),
            role: role(row),
            term: status.map(|status| status.term),
            leader: status.and_then(|status| status.leader),
            commit_index: status.map(|status| status.commit_index),
            applied_index: status.map(|status| status.applied_index),
            last_index: status.map(|status| status.last_index),
            version: status.map(|status| status.version.clone()),
            disk: status.map(|status| status.disk.name()),
            state_digest: status.map(|status| format!("{:016x}", status.state_digest)),
            sending: status.map(|status| status.sending.clone()).unwrap_or_default(),
            differs_from: row.difference.as_ref().map(|difference| difference.others.clone()),
            is_outvoted: row.difference.as_ref().map(|difference| difference.is_outvoted),
            reason: row.status.as_ref().err().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use kv_client::kv_proto::Member;

    use super::*;

    fn three_nodes() -> ClusterStatus {
        let node = |id: u16| {
            let raft_address = format!("127.0.0.1:{}", 8079 + id);
            let client_address = Some(format!("127.0.0.1:{}", 9079 + id));
            let member = Member { id: id.into(), raft_address, client_address };
            let status = NodeStatus {
                member: member.clone(),
                role: Role::Candidate,
                term: 12,
                leader: Some(2),
                commit_index: 1_000_000,
                applied_index: 1_000_000,
                last_index: 1_000_000,
                state_digest: 0,
                version: "0.1.0".to_owned(),
                disk: DiskState::Fine,
                sending: Vec::new(),
            };
            NodeRow { member, status: Ok(status), difference: None }
        };
        ClusterStatus { cluster_id: 1, nodes: [1, 2, 3].map(node).to_vec() }
    }

    /// On a terminal of the usual 80 columns each line of the table once became two.
    #[test]
    fn the_table_fits_a_narrow_terminal() {
        let status = three_nodes();
        let columns = |terminal| {
            let table = table(&status, terminal);
            table.lines().map(|line| line.chars().count()).max().expect("it has lines")
        };
        assert_eq!(columns(None), columns(Some(120)));
        assert!(columns(None) > 80 && columns(Some(80)) <= 80);
        let narrow = table(&status, Some(80)).to_string();
        assert!(narrow.contains("candidate 12   2      1000000"), "{narrow}");
    }
}
