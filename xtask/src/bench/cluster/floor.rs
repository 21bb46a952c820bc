//! What a put by one client cannot be faster than, at the moment: the same bytes on the same ways,
//! and nothing decided.
//!
//! A client sends a request; a leader passes it on to two followers; each of the three writes a
//! sector into a file of its own and syncs it; when two of them have, the client gets its answer.
//! Nothing is encoded, checked, put in order, remembered or applied.
//!
//! Of the threads of a server there are those that no safe one can do without. Who listens to
//! another node does not write, else a disk that hangs would keep it from hearing of its leader.
//! And who listens does not apply, which may take long: so another thread learns what is committed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure};

const ROUNDS: usize = 400;

/// How long a put may take: what is not there by then has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is written to the log for a value of 256 bytes.
const SECTOR_BYTES: usize = 512;

/// What is sent for one: the request and its answer, the append and its acknowledgement.
const REQUEST_BYTES: usize = 315;
const ANSWER_BYTES: usize = 61;
const APPEND_BYTES: usize = 387;
const ACKNOWLEDGED_BYTES: usize = 60;

/// The median, in microseconds. The files are in `folder` meanwhile.
pub(super) fn put_micros(folder: &Path) -> Result<u64, Failure> {
    let doing = || format!("cannot measure the floor of a put in {}", folder.display());
    let mut micros = measure(folder).context(doing)?;
    micros.sort_unstable();
    Ok(micros.get(micros.len() / 2).copied().unwrap_or(0))
}

fn measure(folder: &Path) -> io::Result<Vec<u64>> {
    let (mut client, asked) = connection()?;
    let links = [connection()?, connection()?];
    let heard = [links[0].0.try_clone()?, links[1].0.try_clone()?];
    let logs = [Log::new(folder, 0)?, Log::new(folder, 1)?, Log::new(folder, 2)?];
    thread::scope(|scope| {
        let [own, first, second] = logs;
        let (durable, is_durable) = channel();
        let (to_log, rounds) = channel();
        let (committed, is_committed) = channel();
        let mut followers = Vec::new();
        for ((ours, theirs), log) in links.into_iter().zip([first, second]) {
            let (to_log, rounds) = channel();
            let answers = theirs.try_clone()?;
            scope.spawn(move || follow(theirs, &to_log));
            scope.spawn(move || keep(&log, &rounds, |_| acknowledge(&answers)));
            followers.push(ours);
        }
        for link in heard {
            let durable = durable.clone();
            scope.spawn(move || hear(link, &durable));
        }
        scope.spawn(move || keep(&own, &rounds, |round| durable.send(round).is_ok()));
        scope.spawn(move || commit(&is_durable, &committed));
        scope.spawn(move || lead(asked, &mut followers, &to_log, &is_committed));
        let mut ask = || {
            let began = Instant::now();
            client.write_all(&[1; REQUEST_BYTES])?;
            client.read_exact(&mut [0; ANSWER_BYTES])?;
            Ok(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX))
        };
        let micros = (0..ROUNDS).map(|_| ask()).collect();
        // The others end with the connections: that of the client first.
        drop(client);
        micros
    })
}

fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let ours = TcpStream::connect(listener.local_addr()?)?;
    let (theirs, _) = listener.accept()?;
    ours.set_nodelay(true)?;
    theirs.set_nodelay(true)?;
    Ok((ours, theirs))
}

/// A file of zeros, as the log has.
struct Log(File);

impl Log {
    fn new(folder: &Path, number: usize) -> io::Result<Self> {
        let path = folder.join(format!("floor-{number}"));
        let file = OpenOptions::new().create_new(true).write(true).open(&path)?;
        file.write_all_at(&vec![0; ROUNDS * SECTOR_BYTES], 0)?;
        file.sync_all()?;
        // It goes away when it is closed.
        std::fs::remove_file(path)?;
        Ok(Self(file))
    }

    fn write(&self, round: usize) -> io::Result<()> {
        self.0.write_all_at(&[7; SECTOR_BYTES], (round * SECTOR_BYTES) as u64)?;
        self.0.sync_data()
    }
}

/// The leader's thread for clients. It ends when the client has gone, or something fails: then the
/// client hears of it.
fn lead(
    mut client: TcpStream,
    followers: &mut Vec<TcpStream>,
    to_log: &Sender<usize>,
    is_committed: &Receiver<()>,
) {
    for round in 0..ROUNDS {
        let sent = client.read_exact(&mut [0; REQUEST_BYTES]).and_then(|()| {
            followers.iter_mut().try_for_each(|it| it.write_all(&[2; APPEND_BYTES]))
        });
        if sent.is_err() || to_log.send(round).is_err() {
            break;
        }
        if is_committed.recv_timeout(PATIENCE).is_err()
            || client.write_all(&[3; ANSWER_BYTES]).is_err()
        {
            break;
        }
    }
    for follower in followers {
        // It fails if the connection is over already.
        let _ = follower.shutdown(std::net::Shutdown::Both);
    }
}

/// The leader's thread that applies.
fn commit(is_durable: &Receiver<usize>, committed: &Sender<()>) {
    // The third of a round may come late: it does not count for the next.
    let majority = |round| is_durable.iter().filter(|durable| *durable == round).take(2).count();
    let _ = (0..ROUNDS).all(|round| majority(round) == 2 && committed.send(()).is_ok());
}

/// The thread of a log, which tells of each write.
fn keep(log: &Log, rounds: &Receiver<usize>, tell: impl Fn(usize) -> bool) {
    let _ = rounds.iter().all(|round| log.write(round).is_ok() && tell(round));
}

/// The leader's reader of a follower.
fn hear(mut follower: TcpStream, durable: &Sender<usize>) {
    let mut hears = || follower.read_exact(&mut [0; ACKNOWLEDGED_BYTES]).is_ok();
    let _ = (0..ROUNDS).all(|round| hears() && durable.send(round).is_ok());
}

/// A follower's thread that listens to the leader.
fn follow(mut leader: TcpStream, to_log: &Sender<usize>) {
    let mut hears = || leader.read_exact(&mut [0; APPEND_BYTES]).is_ok();
    let _ = (0..ROUNDS).all(|round| hears() && to_log.send(round).is_ok());
}

fn acknowledge(mut leader: &TcpStream) -> bool {
    leader.write_all(&[4; ACKNOWLEDGED_BYTES]).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_ends_and_takes_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let micros = measure(folder.path()).expect("the disk works");
        assert_eq!(micros.len(), ROUNDS);
        assert!(micros.iter().all(|it| *it > 0));
        assert_eq!(std::fs::read_dir(folder.path()).expect("it is there").count(), 0);
    }
}
