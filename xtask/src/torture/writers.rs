//! Writers that never stop trying, and note what every write was told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kv_client::kv_proto::Outcome;
use kv_client::{Client, Options};

use super::ledger::{Ledger, Told};
use crate::failure::{Context, Failure};

/// How long one write is tried, redirects and pauses included. It bounds how long
/// [`Writers::stop`] takes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after a write that failed, so that a cluster without a leader is not called in a
/// tight circle.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(2);

/// One thread for each ledger, writing all the time.
#[derive(Debug)]
pub(super) struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Ledger>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    news: Mutex<News>,
    has_news: Condvar,
}

/// What the writers have to tell while they write.
#[derive(Debug, Default)]
struct News {
    /// Writes acknowledged by now.
    acknowledged: u64,
    /// The first acknowledgement of a write begun after this moment is of interest.
    watched: Option<Instant>,
    /// When that was.
    first_since_watched: Option<Instant>,
    /// How the last write that failed did so.
    failure: Option<String>,
}

impl Writers {
    /// Starts a writer for each ledger against the cluster at these client addresses.
    ///
    /// # Errors
    ///
    /// If an address cannot be one.
    pub(super) fn start(addresses: &[String], ledgers: Vec<Ledger>) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for ledger in ledgers {
            let client = client(addresses, WRITE_TIMEOUT)?;
            let shared = Arc::clone(&shared);
            threads.push(thread::spawn(move || write_on(client, ledger, &shared)));
        }
        Ok(Self { shared, threads })
    }

    /// Waits until this many more writes were acknowledged, counted from now on.
    ///
    /// # Errors
    ///
    /// If that takes longer than `patience`.
    pub(super) fn wait_for_more(&self, count: u64, patience: Duration) -> Result<(), Failure> {
        let goal = self.shared.news().acknowledged + count;
        let doing = || format!("{count} acknowledged writes");
        self.wait(patience, doing, |news| (news.acknowledged >= goal).then_some(()))
    }

    /// Waits for the first acknowledgement of a write that was begun after `since`; returns when
    /// it came.
    ///
    /// A write that was under way at `since` does not count: its acknowledgement may have been on
    /// its way already.
    ///
    /// # Errors
    ///
    /// If that takes longer than `patience`.
    pub(super) fn next_write(
        &self,
        since: Instant,
        patience: Duration,
    ) -> Result<Instant, Failure> {
        {
            let mut news = self.shared.news();
            news.watched = Some(since);
            news.first_since_watched = None;
        }
        self.wait(patience, || "the next write".into(), |news| news.first_since_watched)
    }

    /// Lets every writer end its write, and gives back their ledgers: every write in them has
    /// been told something.
    ///
    /// # Errors
    ///
    /// If a writer panicked.
    pub(super) fn stop(self) -> Result<Vec<Ledger>, Failure> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let ledgers = self.threads.into_iter().map(|thread| {
            let panicked = |_| Failure::new("a writer panicked, as shown above");
            thread.join().map_err(panicked)
        });
        ledgers.collect()
    }

    fn wait<T>(
        &self,
        patience: Duration,
        doing: impl Fn() -> String,
        answer: impl Fn(&News) -> Option<T>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + patience;
        let mut news = self.shared.news();
        loop {
            if let Some(answer) = answer(&news) {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let failure = news.failure.as_deref().unwrap_or("none failed");
                return Err(Failure::new(format!(
                    "waited {patience:?} for {} in vain; the last failure of a write: {failure}",
                    doing()
                )));
            }
            let waited = self.shared.has_news.wait_timeout(news, left);
            news = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn news(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    fn acknowledged(&mut self, begun: Instant) {
        self.acknowledged += 1;
        if self.watched.is_some_and(|watched| begun >= watched) {
            self.first_since_watched.get_or_insert_with(Instant::now);
        }
    }
}

/// A client of the cluster at these addresses.
///
/// # Errors
///
/// If an address cannot be one.
pub(super) fn client(addresses: &[String], timeout: Duration) -> Result<Client, Failure> {
    let options = Options { timeout };
    Client::new(addresses, options).context(|| "cannot make a client".into())
}

fn write_on(mut client: Client, mut ledger: Ledger, shared: &Shared) -> Ledger {
    while !shared.is_over.load(Ordering::Relaxed) {
        let (key, value) = ledger.next_write();
        let begun = Instant::now();
        match client.put(key.as_bytes(), value.as_bytes()) {
            Ok(_) => {
                ledger.note(Told::Acknowledged);
                shared.news().acknowledged(begun);
                shared.has_news.notify_all();
            }
            Err(error) => {
                ledger.note(match error.outcome() {
                    Outcome::NotApplied => Told::NotApplied,
                    Outcome::Unknown => Told::Unknown,
                });
                shared.news().failure = Some(error.to_string());
                thread::sleep(PAUSE_AFTER_FAILURE);
            }
        }
    }
    ledger
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::torture::ledger::Tally;

    #[test]
    fn only_a_write_begun_after_the_moment_counts_and_the_first_one_does() {
        let mut news = News::default();
        let before = Instant::now();
        news.acknowledged(before);
        assert_eq!(news.first_since_watched, None);
        news.watched = Some(before + Duration::from_secs(1));
        news.acknowledged(before);
        assert_eq!(news.first_since_watched, None);
        news.acknowledged(before + Duration::from_secs(1));
        let first = news.first_since_watched;
        assert!(first.is_some());
        news.acknowledged(before + Duration::from_secs(2));
        assert_eq!((news.first_since_watched, news.acknowledged), (first, 4));
    }

    #[test]
    fn writers_without_a_cluster_say_what_happened_and_stop() {
        // Nobody accepts here any more once the listener is gone.
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        drop(listener);
        let client = client(&[address], Duration::from_millis(20)).expect("an address");
        let shared = Arc::new(Shared::default());
        let writing = Arc::clone(&shared);
        let thread = thread::spawn(move || write_on(client, Ledger::new(0), &writing));
        while shared.news().failure.is_none() {
            thread::sleep(PAUSE_AFTER_FAILURE);
        }
        let writers = Writers { shared, threads: vec![thread] };
        let failure = writers.wait_for_more(1, Duration::ZERO).expect_err("nobody is there");
        let failure = failure.to_string();
        assert!(failure.contains("1 acknowledged writes in vain") && failure.contains("127.0.0.1"));
        let ledgers = writers.stop().expect("no writer panics");
        let mut tally = Tally::default();
        ledgers[0].count(&mut tally);
        assert!(tally.not_applied > 0 && tally.acknowledged + tally.unknown == 0, "{tally:?}");
    }
}
