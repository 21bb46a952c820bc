//! The way back: answers from any thread to the one that serves clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use kv_proto::{Error, Header};
use log::warn;
use mio::Waker;

use crate::replica::{ClientTag, Request};

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// To which question.
    pub client: ClientTag,
    /// What it is.
    pub result: Result<(Header, kv_proto::Reply), Error>,
}

impl Reply {
    /// The answer to a request that comes too late.
    pub(crate) fn shutting_down(request: &Request) -> Self {
        Self { client: request.client, result: Err(Error::ShuttingDown) }
    }
}

/// Where answers go. It has no bound of its own: there is one answer to each request, and those
/// are bounded.
#[derive(Clone, Debug)]
pub struct Replies {
    sender: Sender<Vec<Reply>>,
    waker: Arc<Waker>,
    /// The thread was woken and has not looked yet: waking it again would be a wasted call.
    is_woken: Arc<AtomicBool>,
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct ReplyQueue {
    receiver: Receiver<Vec<Reply>>,
    is_woken: Arc<AtomicBool>,
}

pub(super) fn queue(waker: Waker) -> (Replies, ReplyQueue) {
    let (sender, receiver) = unbounded();
    let is_woken = Arc::new(AtomicBool::new(false));
    let queue = ReplyQueue { receiver, is_woken: Arc::clone(&is_woken) };
    (Replies { sender, waker: Arc::new(waker), is_woken }, queue)
}

impl Replies {
    /// Sends these answers on their way.
    pub fn send(&self, replies: Vec<Reply>) {
        // When the thread is gone the server is stopping, and so are its clients' waits.
        if !replies.is_empty() && self.sender.send(replies).is_ok() {
            self.wake();
        }
    }

    pub(super) fn wake(&self) {
        if !self.is_woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            warn!("the thread that serves clients cannot be woken: {error}");
        }
    }
}

impl ReplyQueue {
    pub(super) fn next_batch(&self) -> Option<Vec<Reply>> {
        // Cleared before looking, so that what comes after the look wakes again. A swap and not a
        // store: it takes its turn with that of `wake`, so that of the two either this look finds
        // what was sent, or the sender finds the flag cleared.
        self.is_woken.swap(false, Ordering::AcqRel);
        self.receiver.try_recv().ok()
    }
}
