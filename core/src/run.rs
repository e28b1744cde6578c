//! The run loop of a processor: reads requests, feeds the former, runs batches, sends answers.
//!
//! One future does it all, so that the state has one writer: the next batch is read while one
//! runs, and replies are sent while the next one runs.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join;
use tokio::task::yield_now;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tracing::{Instrument as _, Span};

use crate::attached::Attached;
use crate::attend::{Attended, attend};
use crate::backoff::Backoff;
use crate::batch::Books;
use crate::control::{Control, Order, Phase};
use crate::error::{Error, ErrorKind, Result};
use crate::former::Step;
use crate::held::Held;
use crate::instance::Instance;
use crate::leave::Leave;
use crate::meta::{BatchInfo, CloseReason};
use crate::observer::Observer;
use crate::policy::ProcessorPolicy;
use crate::slots::Slots;
use crate::trace;
use crate::transport::{Answer, Consumer, Delivery};
use crate::turns::Turns;
use crate::warm_up::warm_up;
use crate::window::WindowTimer;

/// The longest that one read blocks, for transports whose reads block at a server.
const READ_WAIT: Duration = Duration::from_secs(5);
/// The pauses after failed reads grow from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Of a drain's time, what is kept for giving back and leaving: a tenth, and no more than this.
const LEAVE_SHARE: Duration = Duration::from_millis(100);
/// How often an observer is told what waits, while nothing else happens.
const LOAD_EVERY: Duration = Duration::from_secs(1);

/// Runs a processor to its end, and leaves its source in good order.
pub(crate) async fn run<Req, Resp, C, I>(
    attached: Attached<C>,
    policy: ProcessorPolicy<Req>,
    mut instances: Vec<I>,
    control: Arc<Control>,
) where
    Req: Send + 'static,
    Resp: Send + 'static,
    C: Consumer<Req, Resp>,
    I: Instance<Req, Resp>,
{
    let mut leave = match warm_up(&mut instances, policy.samples.as_ref(), &control).await {
        Ok(()) => serve(&*attached, &policy, instances, &control).await,
        Err(failure) => {
            tracing::error!("warming up failed, the processor ends: {failure}");
            control.fail(failure);
            Leave::new(&control)
        }
    };
    let Some(consumer) = attached.into_consumer() else {
        return;
    };
    match leave.within(consumer.detach()).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::warn!("the processor could not leave in good order: {error}"),
        None => tracing::warn!("the processor left without waiting for its transport any longer"),
    }
}

/// Serves until the source is closed, a drain is through, or an order to stop comes. Returns the time
/// that is left to leave in.
async fn serve<'c, Req, Resp, C, I>(
    consumer: &C,
    policy: &ProcessorPolicy<Req>,
    instances: Vec<I>,
    control: &'c Control,
) -> Leave<'c>
where
    Req: Send + 'static,
    Resp: Send + 'static,
    C: Consumer<Req, Resp>,
    I: Instance<Req, Resp>,
{
    let mut held = Held::new(consumer, &policy.batch, &control.counts);
    let mut books = Books::new(policy.batch.observer.clone(), &control.counts);
    let mut run_policy = policy.run_policy();
    let mut running = Slots::new();
    let mut replies = Slots::new();
    let mut reads = Slots::new();
    let mut window = WindowTimer::default();
    let mut end = WindowTimer::default();
    let mut load_ticks = books.observer().map(|_| load_ticks());

    // Replies that a slow transport has not taken yet, beyond which nothing is read or started.
    let most_replies = instances.len() + 1;
    let mut started = false;
    let mut idle = Vec::with_capacity(instances.len());
    // At first all of them are to be made.
    let mut recovering = instances;

    let mut buffer = Vec::new();
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut not_before = None;
    let mut source_open = true;
    let mut order = Order::Serve;
    let mut stop_at = None;
    let mut turns = Turns::new(I::HOLDS_TASK, Instant::now());
    // A read takes all there is, so that what it found is run before the next one looks.
    let mut has_read = false;

    poll_fn(|cx| {
        // Before anything is looked at: what is ordered meanwhile wakes the processor again.
        control.listen(cx);
        for instance in recovering.drain(..) {
            running.insert(attend(instance, run_policy, None));
        }
        loop {
            if let Poll::Ready(attended) = running.poll_next(cx) {
                let Attended {
                    instance,
                    batch,
                    recovers,
                } = attended;
                if let Some((batch, span)) = batch {
                    let ended = batch.context.started() + batch.took;
                    turns.ran(batch.took, ended);
                    let (info, answers) = books.close(batch);
                    held.tell_load(&mut books, ended);
                    turns.answering(answers.len());
                    let timed = books.observer().map(|it| (Arc::clone(it), ended));
                    replies.insert(reply(consumer, Some(info), answers, timed, span));
                }
                if recovers {
                    // Whom this batch is answered has a turn before: to recover may hold the task.
                    recovering.push(instance);
                    let _wakes_after_the_others = pin!(yield_now()).poll(cx);
                } else if instance.is_usable() {
                    idle.push(instance);
                    if !started {
                        started = true;
                        control.enter(Phase::Running);
                    }
                }
                continue;
            }

            // A full batch starts before answers are sent, unless its handler would hold the task.
            let may_start = replies.len() <= most_replies;
            let starts_first = !I::HOLDS_TASK
                && held.former.step(!idle.is_empty() && may_start) == Step::Run(CloseReason::Full);
            if !starts_first && let Poll::Ready(result) = replies.poll_next(cx) {
                turns.answered();
                if let Err(error) = result {
                    tracing::warn!("answers could not be sent: {error}");
                }
                continue;
            }

            let new_order = control.order();
            if new_order != order {
                order = new_order;
                let Order::Drain(deadline) = order else {
                    return Poll::Ready(());
                };
                source_open = false;
                reads.clear();
                consumer.close();
                held.former.close();
                let left = deadline.saturating_duration_since(Instant::now());
                stop_at = Some(deadline - (left / 10).min(LEAVE_SHARE));
                control.enter(Phase::Draining);
            }

            if control.take_new_policy() {
                let policy = control.policy();
                held.reconfigure(&policy);
                run_policy.run_timeout = policy.run_timeout;
                // Those that it had go on.
                load_ticks = policy
                    .observer
                    .is_some()
                    .then(|| load_ticks.take().unwrap_or_else(self::load_ticks));
                books.set_observer(policy.observer);
                // What is being read was asked for by the old size.
                reads.clear();
                // What starts first by the old policy may not by this one.
                continue;
            }

            let room = held.former.room();
            if source_open && started && room > 0 && reads.is_empty() && may_start && !has_read {
                reads.insert(read(
                    consumer,
                    std::mem::take(&mut buffer),
                    room,
                    not_before,
                ));
            }
            if !has_read && let Poll::Ready(read) = reads.poll_next(cx) {
                let Read { mut found, result } = read;
                has_read = !found.is_empty();
                books.read(&found);
                let undecodable = held.receive(&mut found);
                held.note_waiting();
                buffer = found;
                if !undecodable.is_empty() {
                    let answers = books.give_up(undecodable);
                    replies.insert(reply(consumer, None, answers, None, Span::none()));
                }
                match result {
                    Ok(more) => {
                        backoff.reset();
                        not_before = None;
                        source_open = more;
                    }
                    Err(error) if error.is_retryable() => {
                        let next = backoff.next_pause();
                        not_before = Some(Instant::now() + next);
                        tracing::warn!("reading failed, trying again in {next:?}: {error}");
                    }
                    Err(error) => {
                        source_open = false;
                        tracing::error!("reading failed for good, the processor ends: {error}");
                        control.fail(error);
                    }
                }
                if !source_open {
                    held.former.close();
                    control.enter(Phase::Draining);
                }
                continue;
            }

            if let Some(at) = stop_at
                && end.poll_until(at, cx).is_ready()
            {
                return Poll::Ready(());
            }

            let due = match held.former.step(!idle.is_empty() && may_start) {
                Step::Run(reason) => Some(reason),
                Step::RunAt(due) => match window.poll_until(due, cx) {
                    Poll::Ready(()) => Some(CloseReason::Window),
                    Poll::Pending => None,
                },
                Step::Wait => {
                    let nothing_runs = books.nothing_runs();
                    let nothing_left = held.former.is_empty() && replies.is_empty();
                    // An instance that was cut short is among those that run until it is back.
                    if idle.is_empty() && running.is_empty() && recovering.is_empty() {
                        tracing::error!("no instance is left to run a batch, the processor ends");
                        control.fail(Error::new(
                            ErrorKind::Panic,
                            "no handler is left, and none could be made anew",
                        ));
                        return Poll::Ready(());
                    }
                    if !source_open && nothing_runs && nothing_left {
                        return Poll::Ready(());
                    }
                    None
                }
            };
            let Some(reason) = due else {
                if std::mem::take(&mut has_read) {
                    // Who comes together with what was read has a turn before the next read: it finds
                    // them all, where one that slept would be woken by the first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if let Some(ticks) = &mut load_ticks
                    && !(held.former.is_empty()
                        && books.nothing_runs()
                        && !books.has_told_of_load())
                    && ticks.poll_tick(cx).is_ready()
                {
                    held.tell_load(&mut books, Instant::now());
                    continue;
                }
                turns.sleeping();
                return Poll::Pending;
            };
            has_read = false;
            let now = Instant::now();
            if turns.is_due(reason, held.former.len(), now) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }

            let mut gone = held.remove_gone(now);
            if gone.is_empty()
                && let Some(instance) = idle.pop()
            {
                turns.starting();
                let batch;
                (batch, gone) = held.start_batch(&mut books, reason, now);
                let gathered = held.gathered(now);
                if let Some(batch) = batch {
                    books.started(&batch, held.former.batch_size(), gathered);
                    held.tell_load(&mut books, now);
                    // It was asked for what was missing of this batch; and while a handler holds the
                    // task, no request must be meant for it.
                    reads.clear();
                    running.insert(attend(instance, run_policy, Some(batch)));
                } else {
                    idle.push(instance);
                }
            }
            if !gone.is_empty() {
                let answers = books.give_up(gone);
                held.tell_load(&mut books, now);
                replies.insert(reply(consumer, None, answers, None, Span::none()));
            }
            held.note_waiting();
        }
    })
    .await;

    // What still runs is given up: dropping its tickets tells its callers.
    drop(reads);
    drop(running);
    books.give_up_running();
    let answered = async {
        while !replies.is_empty() {
            let _ = poll_fn(|cx| replies.poll_next(cx)).await;
        }
    };
    // Side by side: a transport that does not take the answers may take what is given back.
    let mut leave = Leave::new(control);
    if leave
        .within(join(answered, held.give_back()))
        .await
        .is_none()
    {
        tracing::warn!(
            "the processor leaves before its transport has taken all answers and all it gave back"
        );
    }
    leave
}

/// What a read found. The buffer comes back to be used again.
struct Read<Req, T> {
    found: Vec<Delivery<Req, T>>,
    result: Result<bool>,
}

async fn read<Req, Resp, C: Consumer<Req, Resp>>(
    consumer: &C,
    mut found: Vec<Delivery<Req, C::Ticket>>,
    max: usize,
    not_before: Option<Instant>,
) -> Read<Req, C::Ticket> {
    if let Some(not_before) = not_before {
        sleep_until(not_before).await;
    }
    let result = consumer.recv(&mut found, max, READ_WAIT).await;
    Read { found, result }
}

/// Sends answers, and tells an observer how long ago they were there. With it ends the span of their
/// batch.
async fn reply<Req, Resp, C: Consumer<Req, Resp>>(
    consumer: &C,
    batch: Option<Arc<BatchInfo>>,
    answers: Vec<Answer<Resp, C::Ticket>>,
    timed: Option<(Arc<dyn Observer>, Instant)>,
    span: Span,
) -> Result<()> {
    let sending = trace::reply(&span, answers.len());
    let result = consumer.reply(batch, answers).instrument(sending).await;
    if let Some((observer, ended)) = timed {
        observer.tell(|observer| observer.replied(ended.elapsed()));
    }
    result
}

fn load_ticks() -> Interval {
    let mut ticks = interval_at(Instant::now() + LOAD_EVERY, LOAD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
