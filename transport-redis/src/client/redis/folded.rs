//! What lies between the crate and the server: the crate is given each reply as one text, and
//! [`resp`](crate::client::resp) reads what is in it.
//!
//! The crate's own reading of a stream's entries took half of a processor's time. It still does all
//! that it does for a connection: logging in, sending, and telling whose reply it is.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::buf::Chain;
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use super::activity::Activity;
use crate::client::resp::Scan;

/// How much room there is for what the server sends, at least.
const ROOM: usize = 16 * 1024;

/// Has the replies folded from now on: while the crate sets the connection up it reads them itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Switch(Arc<AtomicBool>);

impl Switch {
    /// To be called while no reply is on its way.
    pub(crate) fn on(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The connection to the server, whose replies are folded into texts.
pub(crate) struct Folded<S> {
    stream: S,
    switch: Switch,
    activity: Activity,
    /// The last write has found no room, as the server had not taken what was written before.
    full: bool,
    /// What has come of replies that are not all there.
    input: BytesMut,
    scan: Scan,
    /// A reply that the crate has not read to its end.
    output: Text,
}

/// A text of the protocol: its length, itself, its end.
type Text = Chain<Chain<Bytes, Bytes>, Bytes>;

fn nothing() -> Text {
    Bytes::new().chain(Bytes::new()).chain(Bytes::new())
}

impl<S> Folded<S> {
    pub(crate) fn new(stream: S, activity: Activity) -> (Self, Switch) {
        let switch = Switch::default();
        let folded = Self {
            stream,
            switch: switch.clone(),
            activity,
            full: false,
            input: BytesMut::new(),
            scan: Scan::default(),
            output: nothing(),
        };
        (folded, switch)
    }

    /// Folds the next reply, if it is all there.
    fn fold(&mut self) -> io::Result<bool> {
        // The crate tells its own users no more than that the connection has ended.
        let end = self.scan.end(&self.input);
        let end = end.inspect_err(|error| tracing::warn!("the connection is given up: {error}"));
        let Some(length) = end? else {
            return Ok(false);
        };
        self.scan = Scan::default();
        let reply = self.input.split_to(length).freeze();
        if length > ROOM && self.input.len() <= length {
            // Its memory goes with it: that of small ones is used again, and should stay small.
            self.input = BytesMut::from(&*self.input);
        }
        let head = Bytes::from(format!("${length}\r\n"));
        self.output = head.chain(reply).chain(Bytes::from_static(b"\r\n"));
        Ok(true)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Folded<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let folded = self.get_mut();
        if !folded.switch.is_on() {
            return Pin::new(&mut folded.stream).poll_read(cx, into);
        }
        while !folded.output.has_remaining() && !folded.fold()? {
            // What has been read is not needed any more: its memory has room for what comes.
            folded.output = nothing();
            folded.input.reserve(ROOM);
            let read = pin!(folded.stream.read_buf(&mut folded.input));
            if ready!(read.poll(cx))? == 0 {
                // The connection has ended, and so has what it brought of a reply.
                return Poll::Ready(Ok(()));
            }
            folded.activity.note();
        }
        let room = into.remaining();
        into.put((&mut folded.output).take(room));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Folded<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let folded = self.get_mut();
        let written = Pin::new(&mut folded.stream).poll_write(cx, bytes);
        // What finds room at once says nothing of the server: a dead one's would still count. Room
        // that has come since the last time was made by the server.
        let was_full = std::mem::replace(&mut folded.full, written.is_pending());
        if was_full && matches!(written, Poll::Ready(Ok(1..))) {
            folded.activity.note();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
