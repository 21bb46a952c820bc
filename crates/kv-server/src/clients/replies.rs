//! The way back: answers from any thread to the one that serves clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use kv_proto::{Error, Header};
use log::warn;
use mio::Waker;

use super::bounds::reply_bytes;
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

/// The most bytes of answers on their way at which further reads are carried out.
const MAX_UNDER_WAY_BYTES: usize = 256 << 20;

/// Where answers go. It takes all of them: there is one to each request, and those are bounded in
/// number. What they take in memory is bounded by whoever carries out reads: [`Replies::is_full`].
#[derive(Clone, Debug)]
pub struct Replies {
    sender: Sender<Vec<Reply>>,
    /// What is in the queue, in bytes, as if it shared nothing.
    under_way_bytes: Arc<AtomicUsize>,
    waker: Arc<Waker>,
    /// The thread was woken and has not looked yet: waking it again would be a wasted call.
    is_woken: Arc<AtomicBool>,
}

/// Answers that are settled and not made yet count as under way until this is dropped.
#[derive(Debug)]
pub(crate) struct Announced {
    bytes: usize,
    under_way_bytes: Arc<AtomicUsize>,
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.under_way_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Where they come out.
#[derive(Debug)]
pub(super) struct ReplyQueue {
    receiver: Receiver<Vec<Reply>>,
    under_way_bytes: Arc<AtomicUsize>,
    is_woken: Arc<AtomicBool>,
}

pub(super) fn queue(waker: Waker) -> (Replies, ReplyQueue) {
    let (sender, receiver) = unbounded();
    let is_woken = Arc::new(AtomicBool::new(false));
    let under_way_bytes = Arc::new(AtomicUsize::new(0));
    let queue = ReplyQueue {
        receiver,
        under_way_bytes: Arc::clone(&under_way_bytes),
        is_woken: Arc::clone(&is_woken),
    };
    (Replies { sender, under_way_bytes, waker: Arc::new(waker), is_woken }, queue)
}

impl Replies {
    /// Sends these answers on their way.
    pub fn send(&self, replies: Vec<Reply>) {
        self.under_way_bytes.fetch_add(all_bytes(&replies), Ordering::Relaxed);
        // When the thread is gone the server is stopping, and so are its clients' waits.
        if !replies.is_empty() && self.sender.send(replies).is_ok() {
            self.wake();
        }
    }

    /// Whether so much is on its way that no more should be read for clients: the thread that
    /// serves them does not keep up.
    pub fn is_full(&self) -> bool {
        self.under_way_bytes.load(Ordering::Relaxed) >= MAX_UNDER_WAY_BYTES
    }

    /// Answers that will take so much are being made.
    pub(crate) fn announce(&self, bytes: usize) -> Announced {
        self.under_way_bytes.fetch_add(bytes, Ordering::Relaxed);
        Announced { bytes, under_way_bytes: Arc::clone(&self.under_way_bytes) }
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
        let batch = self.receiver.try_recv().ok()?;
        self.under_way_bytes.fetch_sub(all_bytes(&batch), Ordering::Relaxed);
        Some(batch)
    }
}

fn all_bytes(replies: &[Reply]) -> usize {
    replies.iter().map(reply_bytes).sum()
}

#[cfg(test)]
mod tests {
    use kv_proto::{BackupPiece, Reply as ProtoReply};
    use mio::{Poll, Token};

    use super::*;

    #[test]
    fn what_is_under_way_counts_until_it_is_taken() {
        let poll = Poll::new().expect("a poll");
        let (replies, queue) = queue(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let bytes = vec![0; 1 << 20].into();
        let piece = BackupPiece { bytes, is_last: false, done: 0, total: 0 };
        let result = Ok((Header::default(), ProtoReply::Backup(piece)));
        let reply = Reply { client: ClientTag::default(), result };
        replies.send(vec![reply.clone(); MAX_UNDER_WAY_BYTES / (1 << 20) - 1]);
        assert!(!replies.is_full());
        let announced = replies.announce(reply_bytes(&reply));
        assert!(replies.is_full());
        drop(announced);
        assert!(!replies.is_full());
        replies.send(vec![reply]);
        assert!(replies.is_full());
        assert!(queue.next_batch().is_some());
        assert!(!replies.is_full());
    }
}
