use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;

/// The server's end, and the crate's, folded from now on.
fn folded() -> (DuplexStream, Folded<DuplexStream>) {
    let (server, stream) = duplex(1 << 20);
    let (folded, switch) = Folded::new(stream);
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
    let (mut folded, switch) = Folded::new(stream);
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
