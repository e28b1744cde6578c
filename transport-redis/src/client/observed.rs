//! A client that tells an observer what is sent through it, and what of that were dead letters. Its
//! connections are another's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dynamic_batcher::{Observer, Result};

use super::{Client, Dedicated};
use crate::command::Command;
use crate::commands;
use crate::value::Value;

pub(crate) struct ObservedClient {
    inner: Arc<dyn Client>,
    observer: Arc<dyn Observer>,
}

impl ObservedClient {
    pub(crate) fn new(inner: Arc<dyn Client>, observer: impl Observer) -> Self {
        Self {
            inner,
            observer: Arc::new(observer),
        }
    }
}

#[async_trait]
impl Client for ObservedClient {
    async fn send(&self, sent: &[Command]) -> Result<Vec<Value>> {
        self.observer
            .tell(|observer| observer.commands_sent(sent.len()));
        let replies = self.inner.send(sent).await?;
        // Somebody else may have buried it before.
        let buried = sent.iter().zip(&replies).filter(|(command, reply)| {
            commands::is_burial(command) && matches!(reply, Value::Int(1))
        });
        match buried.count() {
            0 => {}
            buried => self.observer.tell(|observer| observer.dead_letters(buried)),
        }
        Ok(replies)
    }

    async fn dedicated(&self) -> Result<Box<dyn Dedicated>> {
        Ok(Box::new(ObservedDedicated {
            inner: self.inner.dedicated().await?,
            observer: Arc::clone(&self.observer),
        }))
    }

    fn observer(&self) -> Option<&dyn Observer> {
        Some(&*self.observer)
    }
}

struct ObservedDedicated {
    inner: Box<dyn Dedicated>,
    observer: Arc<dyn Observer>,
}

#[async_trait]
impl Dedicated for ObservedDedicated {
    async fn send(&mut self, command: Command, limit: Duration) -> Result<Value> {
        self.observer.tell(|observer| observer.commands_sent(1));
        self.inner.send(command, limit).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use dynamic_batcher::CallMeta;

    use super::*;
    use crate::client::scripted::{Scripted, refused};
    use crate::outstanding::Outstanding;

    /// What it was told.
    #[derive(Default)]
    struct Book(Mutex<Vec<(&'static str, usize)>>);

    impl Observer for Book {
        fn commands_sent(&self, commands: usize) {
            self.0.lock().unwrap().push(("commands", commands));
        }

        fn dead_letters(&self, requests: usize) {
            self.0.lock().unwrap().push(("dead letters", requests));
        }
    }

    #[tokio::test]
    async fn commands_on_both_connections_and_burials_that_were_the_first_are_told() {
        let (inner, mut line) = Scripted::line();
        let book = Arc::new(Book::default());
        let client = Arc::new(ObservedClient::new(inner, Arc::clone(&book)));
        let bury = || Command::new("EVAL").arg(include_str!("../lua/bury.lua"));
        let sent = [bury(), Command::new("PING"), bury(), bury()];
        let sending = tokio::spawn({
            let client = Arc::clone(&client);
            async move { client.send(&sent).await }
        });
        let replies = [
            Value::Int(1),
            Value::Int(1),
            Value::Int(0),
            refused("NOPERM"),
        ];
        line.next().await.answer(replies.clone());
        assert_eq!(sending.await.unwrap().unwrap(), replies);

        let own = tokio::spawn(async move {
            let mut own = client.dedicated().await.unwrap();
            let limit = Duration::from_secs(1);
            own.send(Command::new("PING"), limit).await
        });
        line.next().await.answer([Value::Nil]);
        own.await.unwrap().unwrap();
        let told = std::mem::take(&mut *book.0.lock().unwrap());
        assert_eq!(
            told,
            [("commands", 4), ("dead letters", 1), ("commands", 1)]
        );
    }

    #[test]
    fn an_answer_that_nobody_waits_for_any_more_ends_nothing() {
        let outstanding = Outstanding::new(10);
        let (idem, _outcome) = outstanding.enter(CallMeta::new(Duration::from_secs(1)));
        let answer = || {
            let reply = dynamic_batcher::Reply::new(Vec::new(), None);
            [(idem, Ok(reply))]
        };
        assert_eq!(outstanding.end_all(answer()), 1);
        assert_eq!(outstanding.end_all(answer()), 0);
    }
}
