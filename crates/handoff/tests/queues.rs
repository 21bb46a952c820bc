//! What a thread that sleeps may rely on.

use std::thread;
use std::time::{Duration, Instant};

use handoff::{Bell, RecvError, RecvTimeoutError, TryRecvError, TrySendError};

/// Longer than any of these tests waits for a thread.
const FOR_EVER: Duration = Duration::from_hours(1);

#[test]
fn what_is_sent_wakes_the_sleeper_and_arrives_in_order() {
    let (sender, receiver) = handoff::unbounded();
    let sleeper = thread::spawn(move || {
        let mut taken = Vec::new();
        while let Ok(number) = receiver.recv() {
            taken.push(number);
        }
        taken
    });
    for number in 0..1000 {
        sender.send(number).expect("it listens");
        if number % 100 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    drop(sender);
    let taken = sleeper.join().expect("it ends when nothing more can come");
    assert_eq!(taken, (0..1000).collect::<Vec<_>>());
}

#[test]
fn the_end_of_the_last_sender_wakes_the_sleeper_and_that_of_another_does_not_end_it() {
    let (sender, receiver) = handoff::bounded::<u8>(1);
    let other = sender.clone();
    let sleeper = thread::spawn(move || [receiver.recv(), receiver.recv()]);
    drop(sender);
    other.send(7).expect("it still listens");
    drop(other);
    assert_eq!(sleeper.join().expect("it ends"), [Ok(7), Err(RecvError)]);
}

#[test]
fn many_senders_and_a_small_queue_lose_nothing() {
    let (sender, receiver) = handoff::bounded(2);
    let senders: Vec<_> = (0..4)
        .map(|_| sender.clone())
        .map(|sender| thread::spawn(move || (0..10_000).all(|it: u64| sender.send(it).is_ok())))
        .collect();
    drop(sender);
    let mut sum = 0;
    while let Ok(number) = receiver.recv() {
        sum += number;
    }
    assert_eq!(sum, 4 * (0..10_000).sum::<u64>());
    assert!(senders.into_iter().all(|sender| sender.join().expect("it ends")));
}

#[test]
fn patience_ends_and_a_ring_from_before_does_not_cut_it_short() {
    let (sender, receiver) = handoff::unbounded();
    sender.send(1).expect("it listens");
    assert_eq!(receiver.recv_timeout(FOR_EVER), Ok(1));
    let (patience, start) = (Duration::from_millis(20), Instant::now());
    assert_eq!(receiver.recv_timeout(patience), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= patience);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    drop(sender);
    assert_eq!(receiver.recv_timeout(FOR_EVER), Err(RecvTimeoutError::Disconnected));
    assert_eq!(receiver.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Disconnected));
}

#[test]
fn a_full_queue_gives_back_what_it_has_no_room_for() {
    let (sender, receiver) = handoff::bounded(1);
    assert_eq!(sender.try_send(1), Ok(()));
    assert_eq!(sender.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [1]);
    drop(receiver);
    assert_eq!(sender.try_send(3), Err(TrySendError::Disconnected(3)));
    assert!(sender.send(4).is_err());
}

#[test]
fn one_bell_is_rung_by_each_of_its_queues() {
    let bell = Bell::new();
    let (first_in, first) = bell.unbounded();
    let (second_in, second) = bell.bounded(1);
    let sleeper = thread::spawn(move || {
        let mut taken = Vec::new();
        loop {
            taken.extend(first.try_iter().chain(second.try_iter()));
            if taken.len() == 2 {
                break;
            }
            bell.wait_until(Instant::now() + FOR_EVER);
        }
        // Everything was taken: only the end of a queue can wake it now.
        while second.try_recv() != Err(TryRecvError::Disconnected) {
            bell.wait();
        }
        taken
    });
    first_in.send("first").expect("it listens");
    thread::sleep(Duration::from_millis(5));
    second_in.send("second").expect("it listens");
    drop(second_in);
    assert_eq!(sleeper.join().expect("it ends"), ["first", "second"]);
}
