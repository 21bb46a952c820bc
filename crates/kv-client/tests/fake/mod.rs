//! A server of one node that does what a test says: it speaks the real protocol on a real socket,
//! and can also break it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use kv_proto::{
    Call, ClientHello, Command, Compact, CompactReply, DeleteReply, Difference, DigestsReply,
    DiskState, Error, Header, KeyValue, Limits, MAX_HELLO_BYTES, Member, NodeStatus,
    PROTOCOL_VERSION, PutReply, Range, RangeReply, Reply, Request, Response, Revision, Role,
    ServerHello, Span, StatusReply, Welcome,
};
use wire::frame::FrameReader;

/// What a server does with a request.
pub enum Play {
    Reply(Reply),
    Fail(Error),
    /// Says nothing, and keeps the connection open.
    Hang,
    /// Closes the connection.
    Drop,
    /// Sends these bytes, whatever they are.
    Raw(Vec<u8>),
}

type Script = dyn Fn(&Call<'_>) -> Play + Send + Sync;

/// A running server; it stops when dropped.
pub struct Fake {
    pub address: String,
    shared: Arc<Shared>,
}

struct Shared {
    node_id: u64,
    script: Box<Script>,
    greeting: Greeting,
    limits: Limits,
    difference: OnceLock<Difference>,
    connections: Mutex<Vec<TcpStream>>,
    is_stopped: AtomicBool,
}

/// How a server answers the handshake.
pub enum Greeting {
    Welcome { cluster_id: u64 },
    Refuse(Error),
    Silence,
    Raw(Vec<u8>),
}

impl Fake {
    /// A server that does what `script` says with every request.
    pub fn start(script: impl Fn(&Call<'_>) -> Play + Send + Sync + 'static) -> Self {
        Self::start_with(1, Greeting::Welcome { cluster_id: 7 }, script)
    }

    pub fn start_with(
        node_id: u64,
        greeting: Greeting,
        script: impl Fn(&Call<'_>) -> Play + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket").to_string();
        let shared = Arc::new(Shared {
            node_id,
            script: Box::new(script),
            greeting,
            limits: Limits::default(),
            difference: OnceLock::new(),
            connections: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let clone = stream.try_clone().expect("a second handle");
                accepting.connections.lock().expect("no panic").push(clone);
                let serving = Arc::clone(&accepting);
                thread::spawn(move || serving.serve(&stream));
            }
        });
        Self { address, shared }
    }

    /// A server that keeps keys in memory, with a cluster of itself alone.
    pub fn store() -> Self {
        let store = Mutex::new(Store::default());
        Self::single(move |call| store.lock().expect("no panic").call(call))
    }

    /// A server that tells the status of the only node of its cluster, and does what `script` says
    /// with everything else.
    pub fn single(script: impl Fn(&Call<'_>) -> Play + Send + Sync + 'static) -> Self {
        let address = Arc::new(OnceLock::new());
        let own = Arc::clone(&address);
        let server = Self::start(move |call| match call {
            Call::Status => Play::Reply(status(1, Role::Leader, &[(1, own.get().cloned())])),
            _ => script(call),
        });
        address.set(server.address.clone()).expect("it is set once");
        server
    }

    /// The same server; it has found out that its state differs.
    #[must_use]
    pub fn with_difference(self, difference: Difference) -> Self {
        self.shared.difference.set(difference).expect("it is set once");
        self
    }

    /// Closes every connection, as a restart would, and goes on accepting.
    pub fn hang_up(&self) {
        for stream in self.shared.connections.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were accepted and not hung up.
    pub fn accepted(&self) -> usize {
        self.shared.connections.lock().expect("no panic").len()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(&self.address);
        self.hang_up();
    }
}

impl Shared {
    fn serve(&self, mut stream: &TcpStream) {
        let mut frames = FrameReader::new(MAX_HELLO_BYTES);
        let mut out = Vec::new();
        let mut greeted = false;
        loop {
            while let Ok(Some(body)) = frames.next_frame() {
                let keep = if greeted {
                    self.answer(body, &mut out)
                } else {
                    greeted = true;
                    ClientHello::decode(body).is_ok() && self.greet(&mut out)
                };
                if stream.write_all(&out).is_err() || !keep {
                    let _ = stream.shutdown(Shutdown::Both);
                    return;
                }
                out.clear();
            }
            if greeted {
                frames.set_max_body_bytes(self.limits.max_request_bytes as usize);
            }
            if !frames.fill(&mut stream).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }

    fn greet(&self, out: &mut Vec<u8>) -> bool {
        let hello = match &self.greeting {
            Greeting::Silence => return true,
            Greeting::Raw(bytes) => {
                out.extend_from_slice(bytes);
                return true;
            }
            Greeting::Refuse(error) => ServerHello::Refused(error.clone()),
            Greeting::Welcome { cluster_id } => ServerHello::Welcome(Welcome {
                version: PROTOCOL_VERSION,
                cluster_id: *cluster_id,
                node_id: self.node_id,
                limits: self.limits,
                server: "0.0.0".into(),
            }),
        };
        hello.write(out).is_ok() && matches!(hello, ServerHello::Welcome(_))
    }

    fn answer(&self, body: &[u8], out: &mut Vec<u8>) -> bool {
        let request = Request::decode(body).expect("the client sends requests");
        let id = request.id;
        let played = match &request.call {
            // Unless a test says otherwise, every server is of one mind with all others.
            Call::Digests => {
                let difference = self.difference.get().cloned();
                Play::Reply(Reply::Digests(DigestsReply { difference, ..DigestsReply::default() }))
            }
            call => (self.script)(call),
        };
        let response = match played {
            Play::Reply(reply) => Response::Done { id, header: self.header(), reply },
            Play::Fail(error) => Response::Failed { id, error },
            Play::Hang => return true,
            Play::Drop => return false,
            Play::Raw(bytes) => {
                out.extend_from_slice(&bytes);
                return true;
            }
        };
        response.write(out).is_ok()
    }

    fn header(&self) -> Header {
        let cluster_id = match self.greeting {
            Greeting::Welcome { cluster_id } => cluster_id,
            _ => 0,
        };
        Header { cluster_id, node_id: self.node_id, revision: Revision::new(REVISION), term: 3 }
    }
}

/// A status of node `id`, in a cluster of these members: `(id, client address)`.
pub fn status(id: u64, role: Role, members: &[(u64, Option<String>)]) -> Reply {
    let members: Vec<Member> = members
        .iter()
        .map(|(id, client_address)| Member {
            id: *id,
            raft_address: format!("127.0.0.1:{}", 8_079 + id),
            client_address: client_address.clone(),
        })
        .collect();
    let member = members.iter().find(|member| member.id == id).expect("it is a member").clone();
    Reply::Status(StatusReply {
        node: NodeStatus {
            member,
            role,
            term: 3,
            leader: Some(1),
            commit_index: 11,
            applied_index: 10,
            last_index: 12,
            state_digest: 0,
            version: "0.0.0".into(),
            disk: DiskState::Fine,
            sending: Vec::new(),
        },
        members,
    })
}

/// The revision in every header of a fake.
pub const REVISION: u64 = 42;

/// Keys in memory, with just enough history to be believed: they are put after [`REVISION`].
pub struct Store {
    keys: BTreeMap<Vec<u8>, KeyValue>,
    revision: u64,
}

impl Default for Store {
    fn default() -> Self {
        Self { keys: BTreeMap::new(), revision: REVISION }
    }
}

impl Store {
    pub fn call(&mut self, call: &Call<'_>) -> Play {
        match call {
            Call::Write(bytes) => match Command::decode(bytes) {
                Ok(command) => Play::Reply(self.write(command)),
                Err(error) => Play::Fail(error),
            },
            Call::Range(range) => Play::Reply(Reply::Range(self.range(range))),
            Call::Status => Play::Reply(status(1, Role::Leader, &[(1, None)])),
            Call::Backup(_) | Call::Digests => Play::Drop,
        }
    }

    fn write(&mut self, command: Command<'_>) -> Reply {
        self.revision += 1;
        let revision = Revision::new(self.revision);
        match command {
            Command::Put(put) => {
                let prev = self.keys.remove(put.key);
                let kv = KeyValue {
                    key: put.key.into(),
                    value: put.value.unwrap_or_default().into(),
                    create_revision: prev.as_ref().map_or(revision, |prev| prev.create_revision),
                    mod_revision: revision,
                    version: prev.as_ref().map_or(0, |prev| prev.version) + 1,
                    lease: None,
                };
                self.keys.insert(put.key.to_vec(), kv);
                Reply::Put(PutReply { prev: prev.filter(|_| put.prev) })
            }
            Command::Delete(delete) => {
                let span = Span::parse(delete.key, delete.range_end).expect("validated");
                let before = self.keys.len();
                self.keys.retain(|key, _| !span.contains(key));
                let deleted = (before - self.keys.len()) as u64;
                Reply::Delete(DeleteReply { deleted, prev: Vec::new() })
            }
            Command::Compact(compact) => {
                let compacted = match compact {
                    Compact::Revision(revision) => revision,
                    Compact::Keep(keep) => Revision::new(REVISION.saturating_sub(keep)),
                };
                Reply::Compact(CompactReply { compacted, overdue: 0 })
            }
        }
    }

    /// Two pairs a page, so that everything longer needs several.
    fn range(&self, range: &Range) -> RangeReply {
        let span = range.span().expect("validated");
        let limit = range.options.limit.unwrap_or(2).min(2) as usize;
        let mut found = self.keys.range::<[u8], _>(span.bounds()).map(|(_, kv)| kv);
        let kvs: Vec<KeyValue> = found.by_ref().take(limit).cloned().collect();
        let next_key = found.next().map(|kv| kv.key.clone());
        RangeReply {
            count: self.keys.range::<[u8], _>(span.bounds()).count() as u64,
            kvs,
            more: next_key.is_some(),
            next_key,
        }
    }
}
