use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::*;

/// The server's end, and the crate's, folded from now on.
fn folded() -> (DuplexStream, Folded<DuplexStream>) {
    let (server, stream) = duplex(1 << 20);
    let (folded, switch) = Folded::new(stream, Activity::new());
    switch.on();
    (server, folded)
}

/// What the crate reads until the connection ends.
async fn read(mut folded: Folded<DuplexStream>) -> io::Result<String> {
    let mut read = String::new();
    let ended = timeout(Duration::from_secs(5), folded.read_to_string(&mut read));
    ended.await.expect("it does not end").map(|_| read)
}

#[tokio::test]
async fn a_reply_is_one_text_however_it_comes() {
    let (mut server, folded) = folded();
    let serve = async {
        for piece in ["*2\r\n:1", "\r\n$2\r\n\r", "\n\r\n+OK\r\n-ER", "R no\r\n"] {
            server.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        drop(server);
    };
    let ((), read) = tokio::join!(serve, read(folded));
    let texts = [
        "$16\r\n*2\r\n:1\r\n$2\r\n\r\n\r\n\r\n",
        "$5\r\n+OK\r\n\r\n",
        "$9\r\n-ERR no\r\n\r\n",
    ];
    assert_eq!(read.unwrap(), texts.concat());
}

#[tokio::test]
async fn until_it_is_switched_on_replies_go_through_as_they_are() {
    let (mut server, stream) = duplex(1 << 20);
    let (mut folded, switch) = Folded::new(stream, Activity::new());
    server.write_all(b"+OK\r\n").await.unwrap();
    let mut login = [0; 5];
    folded.read_exact(&mut login).await.unwrap();
    assert_eq!(&login, b"+OK\r\n");
    switch.on();
    server.write_all(b"+OK\r\n").await.unwrap();
    drop(server);
    assert_eq!(read(folded).await.unwrap(), "$5\r\n+OK\r\n\r\n");
}

#[tokio::test]
async fn what_is_no_reply_ends_the_connection_at_once() {
    let (mut server, folded) = folded();
    server.write_all(b"+OK\r\nHTTP/1.1 400").await.unwrap();
    // The server's end stays open.
    let error = read(folded).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn of_a_reply_that_ends_with_the_connection_nothing_is_read() {
    let (mut server, folded) = folded();
    server.write_all(b"+OK\r\n$5\r\nabc").await.unwrap();
    drop(server);
    assert_eq!(read(folded).await.unwrap(), "$5\r\n+OK\r\n\r\n");
}

#[tokio::test]
async fn small_replies_come_in_the_same_memory_and_a_large_one_leaves_none_behind() {
    let (mut server, mut folded) = folded();
    let mut places = Vec::new();
    for length in [10, 100, 8 * ROOM, 10, 100, 1_000] {
        let reply = format!("${length}\r\n{}\r\n", "x".repeat(length));
        let folds_to = format!("${}\r\n{reply}\r\n", reply.len());
        server.write_all(reply.as_bytes()).await.unwrap();
        let mut read = vec![0; folds_to.len()];
        folded.read_exact(&mut read).await.unwrap();
        assert_eq!(read, folds_to.as_bytes());
        // Nothing more has come, and there is room for what will.
        assert!(folded.read_u8().now_or_never().is_none());
        assert!(!folded.input.try_reclaim(4 * ROOM), "after {length}");
        places.push(folded.input.as_ptr());
    }
    assert_eq!(places[0], places[1]);
    assert_eq!(places[3], places[4]);
    assert_eq!(places[4], places[5]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_counts_as_activity() {
    let (mut server, stream) = duplex(1 << 20);
    let activity = Activity::new();
    let (mut folded, switch) = Folded::new(stream, activity.clone());
    switch.on();
    for reply in ["$5\r\nab", "cde\r\n"] {
        tokio::time::advance(Duration::from_secs(1)).await;
        server.write_all(reply.as_bytes()).await.unwrap();
        let _ = folded.read_u8().now_or_never();
        assert_eq!(activity.last(), Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_counts_as_activity_where_the_server_has_made_room_for_it() {
    let (mut server, stream) = duplex(10);
    let activity = Activity::new();
    let opened = activity.last();
    let (mut folded, _switch) = Folded::new(stream, activity.clone());
    tokio::time::advance(Duration::from_secs(1)).await;
    // Of this the server may never have heard.
    folded.write_all(b"0123456789").await.unwrap();
    assert!(folded.write(b"more").now_or_never().is_none());
    assert_eq!(activity.last(), opened);
    server.read_u8().await.unwrap();
    assert_eq!(folded.write(b"more").await.unwrap(), 1);
    assert_eq!(activity.last(), Instant::now());
}
