//! The search on a handler that notes its calls: how many they are, for every culprit and for
//! several, and what each request gets.

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::time::sleep;

use super::*;
use crate::handler::Handler;
use crate::instance::Inline;
use crate::meta::{BatchId, CallMeta};
use crate::policy::{BatchPolicy, ProcessorPolicy};

const LONG: Duration = Duration::from_secs(3600);
const ID: BatchId = BatchId::new(1, 7);
const SECOND: Duration = Duration::from_secs(1);

/// How a handler can fail a batch.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Error,
    Panic,
    WrongNumber,
}

/// Fails, after `takes`, each batch in which a culprit is; doubles the numbers of the others.
#[derive(Clone)]
struct Picky {
    culprits: BTreeSet<u32>,
    fault: Fault,
    takes: Duration,
    calls: Arc<Mutex<Vec<Call>>>,
}

struct Call {
    requests: Vec<u32>,
    context: BatchContext,
}

impl Picky {
    fn new(culprits: impl IntoIterator<Item = u32>, fault: Fault) -> Self {
        Self {
            culprits: culprits.into_iter().collect(),
            fault,
            takes: Duration::ZERO,
            calls: Arc::default(),
        }
    }

    fn taking(self, takes: Duration) -> Self {
        Self { takes, ..self }
    }

    /// The requests of each call so far.
    fn calls(&self) -> Vec<Vec<u32>> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|call| call.requests.clone()).collect()
    }

    /// Runs a batch of the numbers from 0 to `size`.
    async fn run(&self, policy: impl Into<ProcessorPolicy<u32>>, size: u32) -> Ran<u32> {
        let metas = (0..size).map(|_| CallMeta::new(LONG)).collect();
        self.run_for(policy, metas).await
    }

    async fn run_for(
        &self,
        policy: impl Into<ProcessorPolicy<u32>>,
        metas: Vec<CallMeta>,
    ) -> Ran<u32> {
        run_on(&mut Inline::fixed(self.clone()), &policy.into(), metas).await
    }
}

/// Runs a batch of the numbers from 0 on.
async fn run_on<I: Instance<u32, u32>>(
    instance: &mut I,
    policy: &ProcessorPolicy<u32>,
    metas: Vec<CallMeta>,
) -> Ran<u32> {
    let requests = (0..).take(metas.len()).collect();
    let context = BatchContext::new(ID, Instant::now(), metas);
    run(
        instance,
        policy.run_policy(),
        requests,
        &context,
        &Span::none(),
    )
    .await
}

impl Handler<u32, u32> for Picky {
    async fn run(&mut self, batch: Vec<u32>, context: &BatchContext) -> Outcome<u32> {
        let call = Call {
            requests: batch.clone(),
            context: context.clone(),
        };
        self.calls.lock().unwrap().push(call);
        sleep(self.takes).await;
        let fails = batch.iter().any(|request| self.culprits.contains(request));
        let mut outputs: Vec<u32> = batch.iter().map(|request| request * 2).collect();
        if fails {
            match self.fault {
                Fault::Error => return Outcome::failed(Error::handler(format!("{batch:?}"))),
                Fault::Panic => resume_unwind(Box::new(format!("{batch:?}"))),
                Fault::WrongNumber => outputs.push(0),
            }
        }
        outputs.into()
    }
}

fn policy(on_error: OnBatchError) -> ProcessorPolicy<u32> {
    BatchPolicy::default().on_batch_error(on_error)
}

/// What each request got; of an error its text.
fn texts(ran: Ran<u32>) -> Vec<Result<u32, String>> {
    let Outputs::Each(outcomes) = ran.outputs else {
        panic!("{:?} are not outcomes of their own", ran.outputs);
    };
    let texts = outcomes
        .into_iter()
        .map(|outcome| outcome.map_err(|error| error.to_string()));
    texts.collect()
}

/// The text of the error of a call with these requests.
fn text(fault: Fault, requests: &[u32]) -> String {
    match fault {
        Fault::Error => format!("the handler failed: {requests:?}"),
        Fault::Panic => format!("the handler panicked: {requests:?}"),
        Fault::WrongNumber => {
            let size = requests.len();
            format!(
                "the handler returned {} outputs for a batch of {size} requests",
                size + 1
            )
        }
    }
}

/// Runs a batch with culprits, and sees that each of them gets the error of its own run and each
/// of the others its response. Gives the number of the runs after the first.
fn reruns(on_error: OnBatchError, size: u32, culprits: &BTreeSet<u32>, fault: Fault) -> usize {
    let picky = Picky::new(culprits.iter().copied(), fault);
    let clock = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let ran = clock.block_on(picky.run(policy(on_error), size));
    let calls = picky.calls().len();
    let reruns = ran.reruns;
    assert_eq!(reruns, calls - 1);
    let expected = (0..size).map(|request| match culprits.contains(&request) {
        true => Err(text(fault, &[request])),
        false => Ok(request * 2),
    });
    assert_eq!(texts(ran), expected.collect::<Vec<_>>());
    reruns
}

fn most_reruns(size: u32, culprits: usize) -> f64 {
    2.0 * f64::from(size).log2() * culprits as f64
}

#[test]
fn halving_finds_one_culprit_wherever_it_stands() {
    for size in 1..=64 {
        for culprit in 0..size {
            let culprits = [culprit].into();
            let reruns = reruns(OnBatchError::Bisect, size, &culprits, Fault::Error);
            let most = most_reruns(size, 1);
            assert!(
                reruns as f64 <= most,
                "{culprit} of {size}: {reruns} runs, not {most}"
            );
        }
    }
}

#[test]
fn the_first_of_64_takes_12_runs() {
    let first = [0].into();
    assert_eq!(reruns(OnBatchError::Bisect, 64, &first, Fault::Error), 12);
}

proptest! {
    #[test]
    fn halving_finds_several_culprits(
        size in 2_u32..=64,
        places in prop::collection::btree_set(0_u32..64, 1..64),
        fault in prop::sample::select(vec![Fault::Error, Fault::Panic, Fault::WrongNumber]),
    ) {
        let culprits: BTreeSet<u32> = places.into_iter().map(|place| place % size).collect();
        let reruns = reruns(OnBatchError::Bisect, size, &culprits, fault);
        prop_assert!(reruns as f64 <= most_reruns(size, culprits.len()));
        prop_assert!(reruns <= 2 * size as usize - 2);
    }

    #[test]
    fn one_by_one_each_request_runs_once_more(
        size in 2_u32..=64,
        places in prop::collection::btree_set(0_u32..64, 1..64),
        fault in prop::sample::select(vec![Fault::Error, Fault::Panic, Fault::WrongNumber]),
    ) {
        let culprits: BTreeSet<u32> = places.into_iter().map(|place| place % size).collect();
        let reruns = reruns(OnBatchError::Singles, size, &culprits, fault);
        prop_assert_eq!(reruns, size as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_that_is_known_to_fail_is_not_run_as_it_is() {
    let picky = Picky::new([6], Fault::Error);
    picky.run(policy(OnBatchError::Bisect), 8).await;
    let expected: [&[u32]; 5] = [
        &[0, 1, 2, 3, 4, 5, 6, 7],
        &[0, 1, 2, 3],
        &[4, 5],
        &[6],
        &[7],
    ];
    assert_eq!(picky.calls(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fail_as_a_whole_runs_once() {
    let picky = Picky::new([], Fault::Error);
    let ran = picky.run(policy(OnBatchError::Bisect), 8).await;
    assert!(matches!(ran.outputs, Outputs::All(_)));
    assert_eq!((ran.error, ran.reruns), (None, 0));
    assert_eq!(picky.calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn by_default_a_batch_runs_once() {
    let picky = Picky::new([3], Fault::Error);
    for policy in [
        BatchPolicy::default().into(),
        policy(OnBatchError::default()),
    ] {
        let ran = picky.run(policy, 8).await;
        assert!(matches!(ran.outputs, Outputs::Failed(_)));
        assert_eq!((ran.error, ran.reruns), (Some(ErrorKind::Handler), 0));
    }
    assert_eq!(picky.calls().len(), 2);
}

/// A batch's error can be a size's: then nothing fails in the end, and the first error is told.
#[tokio::test(start_paused = true)]
async fn parts_may_succeed_where_the_whole_did_not() {
    struct AtMost(usize);

    impl Handler<u32, u32> for AtMost {
        async fn run(&mut self, batch: Vec<u32>, _: &BatchContext) -> Outcome<u32> {
            match batch.len() <= self.0 {
                true => batch.into(),
                false => Outcome::failed(Error::handler("no memory")),
            }
        }
    }

    let mut instance = Inline::fixed(AtMost(3));
    let metas = vec![CallMeta::new(LONG); 10];
    let ran = run_on(&mut instance, &policy(OnBatchError::Bisect), metas).await;
    assert_eq!(ran.error, Some(ErrorKind::Handler));
    assert_eq!(texts(ran), (0..10).map(Ok).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_part_has_the_context_of_its_requests() {
    let picky = Picky::new([2], Fault::Error);
    let seconds = |seconds| CallMeta::new(LONG + SECOND * seconds);
    let metas: Vec<_> = (0..4).map(seconds).collect();
    picky
        .run_for(policy(OnBatchError::Bisect), metas.clone())
        .await;
    for Call { requests, context } in picky.calls.lock().unwrap().iter() {
        assert_eq!(context.id(), ID);
        assert_eq!(context.len(), requests.len());
        for (position, request) in requests.iter().enumerate() {
            let deadline = metas[*request as usize].deadline;
            assert_eq!(context.deadline(position), Some(deadline));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn run_timeout_limits_each_run() {
    let picky = Picky::new([0], Fault::Error).taking(SECOND);
    let limit = BatchPolicy::default().run_timeout(SECOND * 2);
    let start = Instant::now();
    let ran = picky
        .run(limit.on_batch_error(OnBatchError::Bisect), 4)
        .await;
    assert_eq!(start.elapsed(), SECOND * 5);
    assert!(!ran.cut_short);
    let expected = [Err(text(Fault::Error, &[0])), Ok(2), Ok(4), Ok(6)];
    assert_eq!(texts(ran), expected);
}

/// Takes a second, but for ever with the requests that hang.
struct Hanging {
    picky: Picky,
    hangs: u32,
}

impl Handler<u32, u32> for Hanging {
    async fn run(&mut self, batch: Vec<u32>, context: &BatchContext) -> Outcome<u32> {
        if batch.len() <= 2 && batch.contains(&self.hangs) {
            std::future::pending::<()>().await;
        }
        Handler::run(&mut self.picky, batch, context).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_passes_its_time_is_the_last() {
    let picky = Picky::new(0..8, Fault::Error);
    let mut instance = Inline::fixed(Hanging {
        picky: picky.clone(),
        hangs: 2,
    });
    let policy = BatchPolicy::default()
        .run_timeout(SECOND)
        .on_batch_error(OnBatchError::Bisect);
    let ran = run_on(&mut instance, &policy, vec![CallMeta::new(LONG); 8]).await;
    assert!(ran.cut_short);
    let too_long = || Err("the handler ran longer than its limit of 1s".to_owned());
    let whole = || Err(text(Fault::Error, &[0, 1, 2, 3, 4, 5, 6, 7]));
    let expected = [
        Err(text(Fault::Error, &[0])),
        Err(text(Fault::Error, &[1])),
        too_long(),
        too_long(),
        whole(),
        whole(),
        whole(),
        whole(),
    ];
    assert_eq!(texts(ran), expected);
}

#[tokio::test(start_paused = true)]
async fn a_whole_that_passes_its_time_is_not_divided() {
    let picky = Picky::new([], Fault::Error).taking(SECOND * 2);
    let policy = BatchPolicy::default()
        .run_timeout(SECOND)
        .on_batch_error(OnBatchError::Singles);
    let ran = picky.run(policy, 4).await;
    assert!(ran.cut_short);
    let kind = ErrorKind::HandlerTimeout {
        run_timeout: SECOND,
    };
    assert_eq!((ran.error, ran.reruns), (Some(kind), 0));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_not_run_again() {
    let picky = Picky::new([3], Fault::Error).taking(SECOND);
    let impatient = CallMeta::new(SECOND);
    let patient = CallMeta::new(LONG);
    let metas = vec![impatient, impatient, impatient, patient];
    picky.run_for(policy(OnBatchError::Bisect), metas).await;
    assert_eq!(picky.calls(), [vec![0, 1, 2, 3], vec![2, 3], vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_cannot_be_made_anew_runs_nothing_more() {
    let picky = Picky::new([3], Fault::Panic);
    let mut handlers = vec![picky.clone(), picky.clone()];
    let make = move |_| handlers.pop().expect("no more");
    let mut instance = Inline::new(Arc::new(tokio::sync::Mutex::new(make)));
    Instance::<u32, u32>::recover(&mut instance).await;
    let metas = vec![CallMeta::new(LONG); 8];
    let ran = run_on(&mut instance, &policy(OnBatchError::Bisect), metas).await;
    assert_eq!(
        picky.calls(),
        [vec![0, 1, 2, 3, 4, 5, 6, 7], vec![0, 1, 2, 3]]
    );
    let half = || Err(text(Fault::Panic, &[0, 1, 2, 3]));
    let whole = || Err(text(Fault::Panic, &[0, 1, 2, 3, 4, 5, 6, 7]));
    let expected: Vec<_> = std::iter::repeat_with(half)
        .take(4)
        .chain(std::iter::repeat_with(whole).take(4))
        .collect();
    assert_eq!(texts(ran), expected);
}

/// A request that panics when it is cloned is a culprit as any other.
#[tokio::test(start_paused = true)]
async fn a_clone_that_panics_is_its_request_s_error() {
    struct Brittle(u32);

    impl Clone for Brittle {
        fn clone(&self) -> Self {
            match self.0 {
                2 => resume_unwind(Box::new("no copies")),
                number => Self(number),
            }
        }
    }

    struct Unwrap;

    impl Handler<Brittle, u32> for Unwrap {
        async fn run(&mut self, batch: Vec<Brittle>, _: &BatchContext) -> Outcome<u32> {
            let numbers = batch.iter().map(|request| request.0);
            numbers.collect::<Vec<_>>().into()
        }
    }

    let metas = vec![CallMeta::new(LONG); 4];
    let context = BatchContext::new(ID, Instant::now(), metas);
    let policy = BatchPolicy::default().on_batch_error(OnBatchError::Bisect);
    let requests = (0..4).map(Brittle).collect();
    let ran = run(
        &mut Inline::fixed(Unwrap),
        policy.run_policy(),
        requests,
        &context,
        &Span::none(),
    )
    .await;
    let error = "the handler panicked: no copies".to_owned();
    assert_eq!(texts(ran), [Ok(0), Ok(1), Err(error), Ok(3)]);
}
