//! The checker of histories, on histories whose verdict is known.

use raft_sim::linearizability::{Answer, Call, Operation, Refusal, check};

const A: Option<u64> = Some(1);
const B: Option<u64> = Some(2);

fn read(invoked: u64, at: u64, value: Option<u64>) -> Operation {
    Operation { key: 0, call: Call::Read, invoked, answer: Some(Answer { at, value }) }
}

fn write(invoked: u64, at: u64, put: Option<u64>, replaced: Option<u64>) -> Operation {
    let answer = Some(Answer { at, value: replaced });
    Operation { key: 0, call: Call::Write(put), invoked, answer }
}

fn open(invoked: u64, put: Option<u64>) -> Operation {
    Operation { key: 0, call: Call::Write(put), invoked, answer: None }
}

fn is_linearizable(history: &[Operation]) -> bool {
    match check(history) {
        Ok(()) => true,
        Err(Refusal::NotLinearizable { .. }) => false,
        Err(refusal @ Refusal::GaveUp { .. }) => panic!("{refusal}"),
    }
}

#[test]
fn an_empty_history_and_a_single_client_are_fine() {
    assert!(is_linearizable(&[]));
    let one_by_one = [read(1, 2, None), write(3, 4, A, None), read(5, 6, A), write(7, 8, None, A)];
    assert!(is_linearizable(&one_by_one));
}

#[test]
fn a_stale_read_is_found() {
    assert!(!is_linearizable(&[write(1, 2, A, None), read(3, 4, None)]));
    assert!(is_linearizable(&[write(1, 4, A, None), read(3, 5, None)]), "they are concurrent");
    assert!(is_linearizable(&[write(1, 3, A, None), read(3, 5, None)]), "so is the same moment");
}

#[test]
fn a_read_that_goes_back_in_time_is_found() {
    let history = [write(1, 10, A, None), read(2, 3, A), read(4, 5, None)];
    assert!(!is_linearizable(&history));
}

#[test]
fn a_lost_write_is_found() {
    let history = [write(1, 2, A, None), write(3, 4, B, None)];
    assert!(!is_linearizable(&history), "the second one should have replaced the first");
}

#[test]
fn a_value_from_nowhere_is_found() {
    assert!(!is_linearizable(&[read(1, 2, B)]));
    assert!(!is_linearizable(&[write(1, 2, A, None), read(1, 9, B)]));
}

#[test]
fn an_open_write_may_have_happened_late_or_never() {
    assert!(is_linearizable(&[open(1, A), read(2, 3, None), read(4, 5, A)]));
    assert!(is_linearizable(&[open(1, A), read(2, 3, None), read(4, 5, None)]));
    assert!(!is_linearizable(&[open(1, A), read(2, 3, A), read(4, 5, None)]), "not twice");
    assert!(!is_linearizable(&[read(1, 2, A), open(3, A)]), "not before it was asked for");
}

#[test]
fn an_open_delete_explains_what_an_open_put_does_not() {
    let history = [write(1, 2, A, None), open(3, None), read(4, 5, A), read(6, 7, None)];
    assert!(is_linearizable(&history));
    assert!(!is_linearizable(&[write(1, 2, A, None), open(3, B), read(6, 7, None)]));
}

#[test]
fn keys_are_judged_apart() {
    let other = |operation: Operation| Operation { key: 1, ..operation };
    assert!(is_linearizable(&[write(1, 2, A, None), other(read(3, 4, None))]));
    assert!(!is_linearizable(&[write(1, 2, A, None), other(read(3, 4, A))]));
}

#[test]
fn a_refusal_names_the_key_and_how_far_it_got() {
    let history = [write(1, 2, A, None), read(3, 4, A), read(5, 6, B)];
    let refusal = check(&history).expect_err("nobody wrote that");
    assert_eq!(refusal, Refusal::NotLinearizable { key: 0, order: vec![0, 1] });
    assert!(refusal.to_string().contains("key 0"));
}

/// Numbers that look random, for histories of any length.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % end
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// A history as `clients` would see it that take turns on one true register, each operation taking
/// effect at some moment within its time. Some never hear of their outcome.
fn true_history(seed: u64, clients: usize, length: usize) -> Vec<Operation> {
    let mut numbers = Numbers(seed);
    let mut free_at = vec![0; clients];
    let mut state = None;
    let mut history = Vec::new();
    for effect in (1..=length as u64).map(|turn| 100 * turn) {
        let client = usize::try_from(numbers.below(clients as u64)).expect("a small number");
        let earliest: u64 = free_at[client];
        let invoked = (effect - numbers.below(300.min(effect))).max(earliest + 1).min(effect);
        let at = effect + numbers.below(300);
        free_at[client] = at.max(earliest);
        let call = match numbers.below(3) {
            0 => Call::Read,
            1 => Call::Write(Some(effect)),
            _ => Call::Write(None),
        };
        let answer = Some(Answer { at, value: state }).filter(|_| numbers.below(8) > 0);
        if let Call::Write(value) = call {
            state = value;
        }
        history.push(Operation { key: 0, call, invoked, answer });
    }
    history
}

#[test]
fn what_a_true_register_answers_is_accepted() {
    for seed in 0..200 {
        assert_eq!(check(&true_history(seed, 6, 120)), Ok(()), "seed {seed}");
    }
    assert_eq!(check(&true_history(1, 8, 5000)), Ok(()));
}

#[test]
fn one_wrong_answer_among_many_is_found() {
    for seed in 0..100 {
        let mut history = true_history(seed, 4, 60);
        let read = history
            .iter_mut()
            .rev()
            .find(|operation| operation.call == Call::Read && operation.answer.is_some());
        let Some(Operation { answer: Some(answer), .. }) = read else { continue };
        answer.value = Some(7);
        assert!(!is_linearizable(&history), "seed {seed}: nobody ever wrote 7");
    }
}

/// The definition itself: some order of the operations that are answered, and of any of the open
/// ones, respects time and gives these answers.
fn has_an_order(left: &mut Vec<Operation>, state: Option<u64>) -> bool {
    let answers = left.iter().filter_map(|operation| operation.answer);
    let Some(first_answer) = answers.map(|answer| answer.at).min() else { return true };
    (0..left.len()).any(|place| {
        let next = left[place];
        let fits = next.answer.is_none_or(|answer| answer.value == state);
        if next.invoked > first_answer || !fits {
            return false;
        }
        left.remove(place);
        let state = match next.call {
            Call::Read => state,
            Call::Write(value) => value,
        };
        let is_found = has_an_order(left, state);
        left.insert(place, next);
        is_found
    })
}

#[test]
fn small_histories_are_judged_as_by_trying_every_order() {
    let mut verdicts = [0, 0];
    for seed in 0..20_000 {
        let mut history = true_history(seed, 3, 6);
        let mut numbers = Numbers(seed ^ 0x5eed);
        if let Some(answer) = &mut history[usize::from(seed % 2 == 0) * 3].answer {
            // Often wrong, now and then right.
            answer.value = [None, Some(100), Some(200), Some(300)]
                [usize::from(numbers.coin()) * 2 + usize::from(numbers.coin())];
        }
        let expected = has_an_order(&mut history.clone(), None);
        assert_eq!(is_linearizable(&history), expected, "seed {seed}: {history:#?}");
        verdicts[usize::from(expected)] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 2000), "both verdicts are common: {verdicts:?}");
}
