//! What every command prints and how it ends, against a server that speaks the real protocol.

#[path = "../../kv-client/tests/fake/mod.rs"]
mod fake;
mod runs;

use fake::{Fake, Greeting, Play, status};
use kv_proto::{Call, Difference, Reply, Role, Sending};
use runs::{Run, at, kv_cli, parsed};
use serde_json::{Value, json};

/// Runs a script of commands against `server`.
fn script(server: &Fake, lines: &str) -> Run {
    kv_cli(&["--endpoints", &server.address, "--timeout", "20s"], lines.as_bytes())
}

#[track_caller]
fn expect(run: &Run, code: i32, out: &str, err: &str) {
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (code, out, err));
}

#[test]
fn put_get_delete_and_list_print_what_a_shell_can_use() {
    let server = Fake::store();
    expect(&at(&server, &["put", "colour", "green"]), 0, "ok\n", "");
    expect(&at(&server, &["get", "colour"]), 0, "green\n", "");
    at(&server, &["put", "colder", "-5"]);
    at(&server, &["put", "zebra", ""]);
    expect(&at(&server, &["list", "col"]), 0, "colder\ncolour\n", "");
    expect(&at(&server, &["list"]), 0, "colder\ncolour\nzebra\n", "");
    expect(&at(&server, &["delete", "colour"]), 0, "1\n", "");
    expect(&at(&server, &["delete", "colour"]), 0, "0\n", "");
}

#[test]
fn a_list_has_a_line_for_each_key_whatever_is_in_it() {
    let server = Fake::store();
    at(&server, &["put", "new\nline", "1"]);
    expect(&at(&server, &["list"]), 0, "\"new\\nline\"\n", "");
    expect(&script(&server, "get \"new\\nline\"\n"), 0, "1\n", "");
}

#[test]
fn a_missing_key_is_not_found() {
    let server = Fake::store();
    expect(&at(&server, &["get", "nothing"]), 1, "", "not found\n");
    let run = at(&server, &["-o", "json", "get", "nothing"]);
    expect(&run, 1, "{\"revision\":42,\"count\":0,\"kvs\":[]}\n", "not found\n");
}

#[test]
fn json_has_everything_a_program_needs() {
    let server = Fake::store();
    let put = at(&server, &["put", "a", "1", "-o", "json"]);
    assert_eq!(parsed(&put), json!({"revision": 42, "deleted": 0}));
    at(&server, &["put", "a", "2"]);
    let pair = json!({
        "key": "a", "value": "2", "create_revision": 43, "mod_revision": 44, "version": 2,
    });
    let expected = json!({"revision": 42, "count": 1, "kvs": [pair]});
    assert_eq!(parsed(&at(&server, &["-o", "json", "get", "a"])), expected);
    assert_eq!(parsed(&at(&server, &["-o", "json", "list"])), expected);
    let delete = at(&server, &["-o", "json", "delete", "a"]);
    assert_eq!(parsed(&delete), json!({"revision": 42, "deleted": 1}));
}

#[test]
fn a_long_list_is_whole_in_both_formats() {
    let server = Fake::store();
    let puts = (100..125).map(|number| format!("put k{number} v\n")).collect::<Vec<_>>().concat();
    assert_eq!(script(&server, &puts).out, "ok\n".repeat(25));
    assert_eq!(at(&server, &["list", "k"]).out.lines().count(), 25);
    let list = parsed(&at(&server, &["-o", "json", "list", "k"]));
    assert_eq!(list["kvs"].as_array().map(Vec::len), Some(25));
    assert_eq!(list["count"], 25);
}

#[test]
fn a_value_from_standard_input_is_kept_byte_for_byte() {
    let server = Fake::store();
    let arguments = ["--endpoints", &server.address, "put", "k", "-"];
    expect(&kv_cli(&arguments, b"\xff\x00\n"), 0, "ok\n", "");
    let list = parsed(&at(&server, &["-o", "json", "get", "k"]));
    let pair = &list["kvs"][0];
    assert_eq!((&pair["value"], &pair["encoding"]), (&json!("/wAK"), &json!("base64")));
}

#[test]
fn lines_are_carried_out_in_order_and_a_failing_one_does_not_stop_the_rest() {
    let server = Fake::store();
    let lines = "put 'two words' \"and\\n\\x41\"\n\n# a remark\nget 'two words'\nget gone\nlist";
    expect(&script(&server, lines), 1, "ok\nand\nA\ntwo words\n", "not found\n");
    let run = script(&server, "get gone\nnonsense\nput k v\n");
    assert_eq!((run.code, run.out.as_str()), (2, "ok\n"));
    expect(&script(&server, "quit\nget gone\n"), 0, "", "");
    expect(&script(&server, ""), 0, "", "");
}

#[test]
fn values_of_a_script_cannot_come_from_the_script() {
    let run = script(&Fake::store(), "put k -\n");
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("put KEY - < FILE"), "{}", run.err);
}

#[test]
fn an_empty_key_and_a_large_value_are_refused_in_a_sentence() {
    let server = Fake::store();
    expect(
        &at(&server, &["put", "", "v"]),
        2,
        "",
        "kv-cli: the key is empty: give it at least one byte\n",
    );
    let arguments = ["--endpoints", &server.address, "put", "k", "-"];
    let run = kv_cli(&arguments, &vec![b'v'; (1 << 20) + 1]);
    expect(
        &run,
        2,
        "",
        "kv-cli: a value of 1048577 bytes is above the limit of 1048576: store it in several \
         parts\n",
    );
}

#[test]
fn a_write_without_an_answer_ends_with_its_own_code() {
    let server = Fake::start(|call| match call {
        Call::Write(_) => Play::Drop,
        _ => Play::Hang,
    });
    let run = at(&server, &["put", "k", "v"]);
    assert_eq!(run.code, 5, "{run:?}");
    assert!(run.err.contains("may or may not have been applied"), "{}", run.err);
}

#[test]
fn a_cluster_that_is_down_is_unavailable() {
    let flags = ["--endpoints", "127.0.0.1:1", "--timeout", "100ms"];
    for command in [["put", "k", "v"].as_slice(), &["get", "k"], &["status"]] {
        let run = kv_cli(&[&flags, command].concat(), b"");
        assert_eq!((run.code, run.out.as_str()), (4, ""), "{run:?}");
    }
}

#[test]
fn a_cluster_is_reached_at_its_raft_ports_plus_the_offset() {
    let server = Fake::store();
    let (_, port) = server.address.rsplit_once(':').expect("a port");
    let raft_port = port.parse::<u16>().expect("a number") - 7;
    let cluster = format!("1=127.0.0.1:{raft_port}");
    let flags = ["--cluster", &cluster, "--client-port-offset", "7", "put", "k", "v"];
    expect(&kv_cli(&flags, b""), 0, "ok\n", "");
}

#[test]
fn status_has_a_row_for_every_node_the_dead_ones_too() {
    let greeting = Greeting::Welcome { cluster_id: 7 };
    let server = Fake::start_with(1, greeting, |_| {
        let members = [(1, Some("127.0.0.1:9080".into())), (2, Some("127.0.0.1:1".into()))];
        Play::Reply(status(1, Role::Leader, &members))
    });
    let run = at(&server, &["status"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("1 of 2 nodes up; node 1 leads in term 3"), "{}", run.out);
    assert!(run.out.contains("node 2 is down: connection refused"), "{}", run.out);
    let nodes = &parsed(&at(&server, &["-o", "json", "status"]))["nodes"];
    assert_eq!(nodes[0]["role"], "leader");
    assert_eq!(nodes[0]["address"], "127.0.0.1:8080");
    assert_eq!(nodes[0]["last_index"], 12);
    assert_eq!((&nodes[1]["id"], &nodes[1]["role"]), (&json!(2), &json!("down")));
    assert_eq!(nodes[1]["term"], Value::Null);
}

#[test]
fn a_compaction_tells_the_oldest_revision_that_is_left() {
    let server = Fake::store();
    let told = "the oldest revision that can be read is 40\n";
    expect(&at(&server, &["compact", "--revision", "40"]), 0, told, "");
    expect(&at(&server, &["compact", "--keep", "2"]), 0, told, "");
    let run = at(&server, &["-o", "json", "compact", "--keep", "2"]);
    expect(&run, 0, "{\"revision\":42,\"compacted\":40}\n", "");
    for wrong in [vec!["compact"], vec!["compact", "--keep", "2", "--revision", "40"]] {
        assert_eq!(at(&server, &wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_node_whose_state_differs_is_shown_with_a_warning() {
    let server = Fake::single(|_| Play::Drop).with_difference(Difference {
        index: 4096,
        others: vec![1, 2],
        is_outvoted: true,
    });
    let run = at(&server, &["status"]);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.out.contains("WARNING") && run.out.contains("nodes 1, 2"), "{}", run.out);
    assert!(run.out.contains("at index 4096"), "{}", run.out);
    let node = &parsed(&at(&server, &["-o", "json", "status"]))["nodes"][0];
    assert_eq!((&node["differs_from"], &node["is_outvoted"]), (&json!([1, 2]), &json!(true)));
}

#[test]
fn a_snapshot_on_its_way_is_shown_with_how_far_it_is() {
    let server = Fake::start(|call| {
        let Call::Status = call else { return Play::Drop };
        let mut reply = status(1, Role::Leader, &[(1, Some("127.0.0.1:1".into()))]);
        if let Reply::Status(status) = &mut reply {
            let sending = Sending { to: 3, pieces: 12, bytes: 13 << 20, done: 370, total: 1000 };
            status.node.sending.push(sending);
        }
        Play::Reply(reply)
    });
    let run = at(&server, &["status"]);
    assert!(run.out.contains("node 1 sends node 3 a snapshot"), "{}", run.out);
    assert!(run.out.contains("13.0 MiB so far, 37%"), "{}", run.out);
    let node = &parsed(&at(&server, &["-o", "json", "status"]))["nodes"][0];
    let told = json!([{"to": 3, "pieces": 12, "bytes": 13 << 20, "done": 370, "total": 1000}]);
    assert_eq!(node["sending"], told);
}
