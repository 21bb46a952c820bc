//! The clients' side of the server: every connection on one thread, without blocking.
//!
//! The thread takes requests off the sockets, checks them, and passes them on in batches; replies
//! come back through a queue and a waker. Bounds, and what happens at each:
//! - Connections ([`Bounds::max_connections`]): one more is told "busy" and closed.
//! - Requests waiting on one connection (`Limits::max_in_flight`), or what their answers may take
//!   at most and what the client does not fetch ([`Bounds::max_owed_bytes`]): the connection is not
//!   read until there is room, so the client's own sends come to wait.
//! - Requests that arrive in part ([`Bounds::max_held_bytes`], over all connections): the
//!   connection that grows beyond it is told "busy" and closed.
//! - Answers that nobody fetches ([`Bounds::max_unfetched_bytes`], over all connections): the
//!   connection that grows beyond it is closed.
//! - Answers that have not come to this thread yet ([`Replies::is_full`]): reads are told "busy".
//! - The queue to the event loop: this thread waits, and with it all clients.
//! - A connection that has not said hello within `HELLO_PATIENCE` is closed.

mod bounds;
mod connection;
mod parse;
mod replies;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kv_proto::{Error, ServerHello, Welcome};
use log::{debug, error};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};

pub use bounds::{Bounds, FREE_HELD_BYTES};
pub(crate) use bounds::{found_bytes, reply_bytes};
pub use parse::{Refusal, parse};
pub(crate) use replies::Announced;
pub use replies::{Replies, Reply};

use crate::replica::Request;
use crate::seldom::Seldom;
use bounds::Held;
use connection::{Connection, HELLO_PATIENCE, Reading};
use replies::ReplyQueue;

/// How long replies under way may take to leave when the server stops.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// How long to wait before accepting again after it failed, for want of file descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How far apart warnings are that any stranger can cause.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

const LISTENER: Token = Token(0);
const WAKER: Token = Token(1);
const FIRST_CONNECTION: usize = 2;

/// The running thread.
#[derive(Debug)]
pub struct Clients {
    thread: JoinHandle<io::Result<()>>,
    replies: Replies,
    closing: Arc<Closing>,
    address: SocketAddr,
}

/// How far stopping has come.
#[derive(Debug, Default)]
struct Closing {
    /// Requests are refused.
    refuses: AtomicBool,
    /// Every reply has been sent on its way: the thread may end.
    is_final: AtomicBool,
}

impl Clients {
    /// Serves clients on `listener`. Batches of requests go to `submit`, which may block, and
    /// hands back those that nobody takes any more: they are refused. `on_failure` is called when
    /// clients can be served no longer.
    ///
    /// # Errors
    ///
    /// If the operating system refuses what is needed for it.
    pub fn start(
        listener: std::net::TcpListener,
        welcome: Welcome,
        reply_delay: Duration,
        bounds: Bounds,
        submit: impl FnMut(Vec<Request>) -> Result<(), Vec<Request>> + Send + 'static,
        on_failure: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (replies, queue) = replies::queue(waker);
        let closing = Arc::new(Closing::default());
        let server = Server {
            poll,
            listener,
            welcome,
            connections: HashMap::new(),
            next_id: FIRST_CONNECTION,
            readable: Vec::new(),
            unsent: Vec::new(),
            delayed: VecDeque::new(),
            reply_delay,
            bounds,
            held: Held::up_to(bounds.max_held_bytes),
            unfetched: Held::up_to(bounds.max_unfetched_bytes),
            warnings: Seldom::new(WARNING_PAUSE),
            requests: Vec::new(),
            queue,
            closing: Arc::clone(&closing),
            accept_at: None,
            hellos: VecDeque::new(),
        };
        let thread = std::thread::Builder::new().name("clients".into()).spawn(move || {
            let outcome = server.run(submit);
            if let Err(error) = &outcome {
                error!("clients cannot be served any more, so this node stops: {error}");
                on_failure();
            }
            outcome
        })?;
        Ok(Self { thread, replies, closing, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where answers to requests go.
    pub fn replies(&self) -> Replies {
        self.replies.clone()
    }

    /// From now on requests are refused, and soon the `submit` of [`Clients::start`] is dropped.
    /// Replies to earlier ones still leave.
    pub fn refuse_requests(&self) {
        self.closing.refuses.store(true, Ordering::Release);
        self.replies.wake();
    }

    /// Lets the replies that were sent before this call leave, closes every connection, and waits
    /// for the thread.
    ///
    /// # Errors
    ///
    /// Why clients could not be served any more, if the thread had ended for that.
    pub fn stop(self) -> io::Result<()> {
        self.closing.refuses.store(true, Ordering::Release);
        self.closing.is_final.store(true, Ordering::Release);
        self.replies.wake();
        let panicked = || io::Error::other("the thread that serves clients had panicked");
        self.thread.join().unwrap_or_else(|_| Err(panicked()))
    }
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    welcome: Welcome,
    connections: HashMap<usize, Connection>,
    /// Numbers are never used again: a late reply cannot reach another client.
    next_id: usize,
    /// Connections that may have something to read.
    readable: Vec<usize>,
    /// Connections that have something to send.
    unsent: Vec<usize>,
    /// Replies that are held back for people to watch, in the order of their time.
    delayed: VecDeque<(Instant, Reply)>,
    reply_delay: Duration,
    bounds: Bounds,
    /// Of requests that are still arriving.
    held: Held,
    /// Of answers that are not fetched.
    unfetched: Held,
    warnings: Seldom,
    requests: Vec<Request>,
    queue: ReplyQueue,
    closing: Arc<Closing>,
    accept_at: Option<Instant>,
    /// By when each new connection must have said hello, in the order of their time.
    hellos: VecDeque<(Instant, usize)>,
}

impl Server {
    fn run(
        mut self,
        submit: impl FnMut(Vec<Request>) -> Result<(), Vec<Request>>,
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut submit = Some(submit);
        let mut stop_by = None;
        loop {
            let timeout =
                if self.readable.is_empty() { self.timeout() } else { Some(Duration::ZERO) };
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            // Looked at before the replies: when it is set, all of them are in the queue.
            let is_final = self.closing.is_final.load(Ordering::Acquire);
            if self.closing.refuses.load(Ordering::Acquire) {
                submit = None;
            }
            self.note_events(&events);
            self.take_replies();
            self.read_all();
            self.pass_on(submit.as_mut());
            self.send_all();
            if is_final {
                let by = *stop_by.get_or_insert_with(|| Instant::now() + STOP_PATIENCE);
                if self.has_finished() || Instant::now() >= by {
                    return Ok(());
                }
            }
        }
    }

    /// Submits what was read; refuses what nobody takes.
    fn pass_on(
        &mut self,
        submit: Option<&mut impl FnMut(Vec<Request>) -> Result<(), Vec<Request>>>,
    ) {
        if self.requests.is_empty() {
            return;
        }
        let requests = std::mem::take(&mut self.requests);
        let refused = match submit {
            Some(submit) => submit(requests).err().unwrap_or_default(),
            None => requests,
        };
        for request in &refused {
            self.deliver(Reply::shutting_down(request));
        }
    }

    /// How long nothing needs to be done without an event.
    fn timeout(&self) -> Option<Duration> {
        let is_stopping = self.closing.is_final.load(Ordering::Acquire);
        let now = Instant::now();
        let until = |at: Instant| at.saturating_duration_since(now);
        let timeouts = [
            is_stopping.then_some(Duration::from_millis(10)),
            self.hellos.front().map(|(by, _)| until(*by)),
            self.delayed.front().map(|(at, _)| until(*at)),
            self.accept_at.map(until),
        ];
        timeouts.into_iter().flatten().min()
    }

    fn note_events(&mut self, events: &Events) {
        let mut must_accept = self.accept_at.is_some_and(|at| Instant::now() >= at);
        for event in events {
            match event.token() {
                LISTENER => must_accept = true,
                WAKER => {}
                Token(id) => {
                    if event.is_readable() || event.is_read_closed() {
                        self.readable.push(id);
                    }
                    if event.is_writable() {
                        self.unsent.push(id);
                    }
                }
            }
        }
        if must_accept {
            self.accept_all();
        }
        self.close_the_silent();
    }

    fn close_the_silent(&mut self) {
        let now = Instant::now();
        while let Some((_, id)) = self.hellos.pop_front_if(|(by, _)| *by <= now) {
            if self.connections.get(&id).is_some_and(Connection::is_new) {
                debug!("a client said nothing within {HELLO_PATIENCE:?} and is closed");
                self.close(id);
            }
        }
    }

    fn accept_all(&mut self) {
        self.accept_at = None;
        loop {
            match self.listener.accept() {
                Ok((stream, peer)) => self.accept(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.warn(&format_args!("a client could not be let in: {error}; trying on"));
                    self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn accept(&mut self, mut stream: TcpStream, peer: SocketAddr) {
        let id = self.next_id;
        self.next_id += 1;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let set_up = stream
            .set_nodelay(true)
            .and_then(|()| self.poll.registry().register(&mut stream, Token(id), interest));
        if let Err(error) = set_up {
            return debug!("client {peer} was gone before it was let in: {error}");
        }
        let mut connection = Connection::new(id, stream, peer, self.bounds.max_owed_bytes);
        if self.connections.len() >= self.bounds.max_connections {
            let count = self.connections.len();
            self.warn(&format_args!("client {peer} was refused: {count} are connected already"));
            connection.say_hello(&ServerHello::Refused(Error::Busy));
            connection.send();
            return;
        }
        self.connections.insert(id, connection);
        self.hellos.push_back((Instant::now() + HELLO_PATIENCE, id));
        self.readable.push(id);
    }

    /// Says so, but not again and again.
    fn warn(&mut self, what: &dyn Display) {
        let level =
            if self.warnings.is_due(Instant::now()) { log::Level::Warn } else { log::Level::Debug };
        log::log!(level, "{what}");
    }

    fn close(&mut self, id: usize) {
        if let Some(connection) = self.connections.remove(&id) {
            self.held.change(connection.held_bytes(), 0);
            self.unfetched.change(connection.counted_bytes, 0);
        }
    }

    /// Puts the replies that have come into the buffers of their connections.
    fn take_replies(&mut self) {
        let now = Instant::now();
        while let Some(batch) = self.queue.next_batch() {
            if self.reply_delay.is_zero() {
                for reply in batch {
                    self.deliver(reply);
                }
            } else {
                let at = now + self.reply_delay;
                self.delayed.extend(batch.into_iter().map(|reply| (at, reply)));
            }
        }
        while let Some((_, reply)) = self.delayed.pop_front_if(|(at, _)| *at <= now) {
            self.deliver(reply);
        }
    }

    fn deliver(&mut self, reply: Reply) {
        let Ok(id) = usize::try_from(reply.client.connection) else { return };
        // A client that has gone does not wait any more.
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.reply(reply);
        let now = connection.unfetched_bytes();
        if self.unfetched.update(&mut connection.counted_bytes, now) {
            return self.unsent.push(id);
        }
        debug!("a client is closed: answers that are not fetched take too much memory by now");
        self.close(id);
    }

    fn read_all(&mut self) {
        for id in std::mem::take(&mut self.readable) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let before = connection.held_bytes();
            let mut reading = connection.read(&self.welcome, &mut self.requests);
            let has_room = self.held.change(before, connection.held_bytes());
            if !has_room && reading != Reading::Closed {
                debug!("a client is closed: requests in part take too much memory by now");
                connection.say_goodbye(Error::Busy);
                reading = Reading::Closed;
            }
            match reading {
                Reading::Done => {}
                Reading::More => self.readable.push(id),
                Reading::Closed => {
                    connection.send();
                    self.close(id);
                    continue;
                }
            }
            if connection.has_unsent() {
                self.unsent.push(id);
            }
        }
    }

    fn send_all(&mut self) {
        for id in std::mem::take(&mut self.unsent) {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let is_open = connection.send();
            let now = connection.unfetched_bytes();
            self.unfetched.update(&mut connection.counted_bytes, now);
            if !is_open {
                self.close(id);
            } else if connection.may_go_on() {
                self.readable.push(id);
            }
        }
    }

    /// Whether nothing is left to be read, answered or sent.
    fn has_finished(&self) -> bool {
        self.readable.is_empty()
            && self.delayed.is_empty()
            && !self.connections.values().any(Connection::has_unsent)
    }
}
