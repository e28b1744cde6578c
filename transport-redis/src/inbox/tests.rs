//! Of two deliveries of the same entry each ticket speaks for its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::client::scripted::{Scripted, entry, list, texts};
use crate::clock::Clock;
use crate::entry::Entry;

const LEASE: Duration = Duration::from_secs(3);

async fn inbox() -> Arc<Inbox> {
    let (client, _line) = Scripted::with_routine(|_| Some(texts(["100", "0"])));
    let clock = Clock::read(&*client).await.unwrap();
    let place = Place {
        client,
        clock,
        request_stream: "request".into(),
        again_stream: "again".into(),
        dead_stream: "dead".into(),
        reply_prefix: "reply:".into(),
        group: "group".into(),
        consumer: "me".into(),
        lease: LEASE,
        grace: LEASE,
        max_deliveries: 3,
        max_dead_letters: 10,
    };
    Arc::new(Inbox::new(place))
}

fn take(inbox: &Inbox, max: usize) -> Result<Vec<RawDelivery>> {
    let mut taken = Vec::new();
    inbox.take(max, &mut taken).map(|_| taken)
}

fn deliver(inbox: &Arc<Inbox>, deliveries: u32) -> Vec<RawDelivery> {
    let entries = Entry::all(list([entry("1-0", &["body", "1"])])).unwrap();
    inbox.deliver_unseen(
        entries
            .into_iter()
            .map(|entry| (entry, deliveries))
            .collect(),
    );
    take(inbox, 10).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_the_close_is_given_back_and_does_not_count() {
    let inbox = inbox().await;
    let entries = Entry::all(list(["1-0", "2-0"].map(|id| entry(id, &["body", "1"])))).unwrap();
    let mut entries = entries.into_iter().map(|entry| (entry, 2));
    inbox.deliver_unseen(entries.next().into_iter().collect());
    let unread = inbox.close();
    assert_eq!((unread.len(), inbox.wanted()), (1, 0));
    inbox.deliver_unseen(entries.collect());
    assert!(take(&inbox, 10).unwrap().is_empty());
    let [(id, deliveries)] = inbox.dropped()[..] else {
        panic!("{:?}", inbox.dropped());
    };
    assert_eq!((id.to_string(), deliveries), ("2-0".into(), 1));
}

fn hold(delivery: &RawDelivery) -> Hold {
    delivery.ticket.hold
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_held_is_not_delivered_again() {
    let inbox = inbox().await;
    let first = deliver(&inbox, 1);
    assert!(deliver(&inbox, 2).is_empty());
    assert!(inbox.is_held(hold(&first[0])));
}

#[tokio::test(start_paused = true)]
async fn the_ticket_of_a_lease_that_was_lost_says_nothing_about_the_next_one() {
    let inbox = inbox().await;
    let first = deliver(&inbox, 1);
    inbox.lose(&[first[0].ticket.id()]);
    let second = deliver(&inbox, 2);
    assert!(!inbox.is_held(hold(&first[0])));
    assert!(inbox.is_held(hold(&second[0])));

    inbox.started([hold(&first[0])].into_iter(), Instant::now());
    assert!(!inbox.settle(hold(&first[0])));
    drop(first);
    assert!(inbox.dropped().is_empty());
    assert!(inbox.is_held(hold(&second[0])));
    // The second was not started, so it waits.
    tokio::time::advance(LEASE * 2).await;
    inbox.drop_waiting(LEASE);
    let waiting = [(second[0].ticket.id(), 1)];
    drop(second);
    assert_eq!(inbox.dropped(), waiting);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_dropped_or_not_yet_acknowledged_is_known() {
    let inbox = inbox().await;
    let held = deliver(&inbox, 2);
    let id = held[0].ticket.id();
    let is_known = || inbox.unseen(vec![(id, 1)]).is_empty();
    assert!(is_known());
    drop(held);
    assert!(is_known());
    assert_eq!(inbox.dropped(), [(id, 2)]);
    assert!(is_known());
    inbox.given_back(1);
    assert!(!is_known());
    inbox.answered(vec![id]);
    assert!(is_known());
    inbox.acknowledged(&BTreeSet::from([id]));
    assert!(!is_known());
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_again_before_it_is_known_to_be_given_back_is_not_given_back_again() {
    let inbox = inbox().await;
    drop(deliver(&inbox, 1));
    assert_eq!(inbox.dropped().len(), 1);
    let _again = deliver(&inbox, 2);
    assert!(inbox.dropped().is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_many_that_are_to_be_acknowledged_each_has_its_turn() {
    let inbox = inbox().await;
    let ids = ["1-0", "2-0", "3-0"].map(|id| StreamId::parse(id.as_bytes()).unwrap());
    inbox.answered(ids.to_vec());
    let next = || {
        let next = inbox.unacknowledged(2).into_iter();
        next.map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(next(), [ids[0], ids[1]]);
    assert_eq!(next(), [ids[2], ids[0]]);
    inbox.acknowledged(&BTreeSet::from([ids[0], ids[2]]));
    assert_eq!(next(), [ids[1]]);
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_handed_out_before_the_error_that_ends_reading() {
    let inbox = inbox().await;
    let entries = Entry::all(list([entry("1-0", &["body", "1"]), entry("2-0", &[])])).unwrap();
    inbox.deliver_read(entries);
    inbox.fail(Error::handler("gone"));
    assert_eq!(take(&inbox, 1).unwrap().len(), 1);
    assert_eq!(take(&inbox, 1).unwrap().len(), 1);
    assert!(take(&inbox, 1).is_err());
}

/// The server's clock was set back, or somebody chose the id.
#[tokio::test(start_paused = true)]
async fn what_has_an_id_of_the_future_was_sent_now() {
    let inbox = inbox().await;
    tokio::time::advance(LEASE).await;
    let ids = ["100000-0", "109000-0", "9999999999999-0"];
    let entries = list(ids.map(|id| entry(id, &["body", "1"])));
    let entries = Entry::all(entries).unwrap();
    inbox.deliver_read(entries);
    let sent = take(&inbox, 10).unwrap().into_iter();
    let sent: Vec<_> = sent.map(|each| each.meta.enqueued).collect();
    let now = Instant::now();
    assert_eq!(sent, [now - LEASE, now, now]);
}
