//! The task that reads and writes for a connection, and how others learn that it has ended.

use std::io;
use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::{Either, select};
use redis::RedisResult;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// A connection's task. Dropped, it is ended.
pub(crate) struct Driver {
    task: AbortHandle,
    /// Its other half goes with the task, however that ends.
    ended: watch::Sender<()>,
}

impl Driver {
    pub(crate) fn spawn(driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let (ended, running) = watch::channel(());
        let task = tokio::spawn(async move {
            let _running = running;
            driver.await;
        });
        Self {
            task: task.abort_handle(),
            ended,
        }
    }

    /// What comes of `sent`; an error when the task has ended without a reply to it.
    ///
    /// The crate says so itself of nearly all that is on its way then. But what is put into tokio's
    /// channel while its receiver is dropped can stay there for as long as anybody may send: then
    /// nobody is told, and whoever waits for a reply may send.
    pub(crate) async fn while_running<T>(
        &self,
        sent: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        let sent = pin!(sent);
        match select(sent, pin!(self.ended.closed())).await {
            Either::Left((replies, _)) => replies,
            // The last that the task did may have been to hand them out.
            Either::Right(((), sent)) => sent.now_or_never().unwrap_or_else(|| {
                let text = "the connection has ended";
                Err(io::Error::new(io::ErrorKind::BrokenPipe, text).into())
            }),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn what_is_forgotten_fails_when_the_connection_ends() {
        let (end, ends) = oneshot::channel();
        let driver = Driver::spawn(async { ends.await.unwrap() });
        let mut forgotten = pin!(driver.while_running(pending::<RedisResult<()>>()));
        assert!(forgotten.as_mut().now_or_never().is_none());
        end.send(()).unwrap();
        let error = forgotten.await.unwrap_err();
        assert!(error.is_connection_dropped(), "{error}");
    }

    #[tokio::test]
    async fn what_was_handed_out_last_is_not_lost() {
        let (answer, answered) = oneshot::channel();
        let driver = Driver::spawn(async { answer.send(7).unwrap() });
        driver.ended.closed().await;
        let reply = async {
            // When it is asked first there is none.
            yield_now().await;
            Ok(answered.await.unwrap())
        };
        assert_eq!(driver.while_running(reply).await.unwrap(), 7);
    }
}
