//! What is given up, with the scripts on a real server.

use dynamic_batcher_conformance::RedisServer;

use super::*;
use crate::client::Client;
use crate::client::redis::RedisClient;
use crate::command::Command;

const REPLY_TO: &str = "{request}:reply:0123456789abcdef";

async fn place(server: &RedisServer) -> Place {
    let url = format!("redis://127.0.0.1:{}", server.port());
    let options = ::redis::Client::open(url).unwrap();
    let client: Arc<dyn Client> = Arc::new(RedisClient::connect(options).await.unwrap());
    Place::sample(client).await
}

/// Adds an entry that was delivered three times to a consumer that has died.
async fn exhaust(place: &Place, id: &'static str, fields: &[&str]) {
    let claim = ["request", "group", "dead", "0", id];
    let claim = Command::new("XCLAIM").args(claim);
    let commands = [
        Command::new("XADD").args(["request", id]).args(fields),
        Command::new("XGROUP").args(["CREATE", "request", "group", "0"]),
        Command::new("XREADGROUP").args(["GROUP", "group", "dead", "STREAMS", "request", ">"]),
        claim.args(["IDLE", "9000", "RETRYCOUNT", "3"]),
    ];
    let replies = place.client.send(&commands).await.unwrap();
    assert!(!replies[3].clone().list().unwrap().is_empty());
}

fn fields(entry: &Entry) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = entry.fields.pairs();
    pairs
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[tokio::test]
async fn what_is_given_up_leaves_its_body_at_the_server_which_puts_it_in_the_letter() {
    let server = RedisServer::start(None);
    let place = place(&server).await;
    let ours = ["v", "1", "reply_to", REPLY_TO, "idem", "7"];
    let twice = ["body", "[1]", "body", "[2]"];
    exhaust(&place, "1-0", &[&twice[..], &ours].concat()).await;
    let unreadable = ["body", "[3]", "timeout_ms", "x"];
    exhaust(&place, "2-0", &[&unreadable[..], &ours].concat()).await;
    let of_python = ["body", "[4]"];
    exhaust(&place, "3-0", &of_python).await;

    let part = take_part(&place, 0, false, b"-").await.unwrap();
    let values = |part: &Part| {
        let all = part.exhausted.iter().flat_map(|each| fields(&each.entry));
        let bodies = all.filter(|(name, _)| name == "body");
        bodies.map(|(_, body)| body).collect::<Vec<_>>()
    };
    assert_eq!(values(&part), ["", "", "", ""]);
    dead::give_up(&place, part.exhausted).await.unwrap();

    let list = commands::range("dead", StreamId::MIN, 10);
    let letters = send_one(&*place.client, list).await.unwrap();
    let letters = Entry::all(letters).unwrap();
    let begins = letters.iter().map(|letter| fields(letter).swap_remove(0));
    let [first, second, third] = &*begins.collect::<Vec<_>>() else {
        panic!("{letters:?}");
    };
    assert_eq!(first, &("body".into(), "[2]".into()));
    assert_eq!(second.0, "last_ms");
    assert_eq!(third, &("body".into(), "[4]".into()));
}
