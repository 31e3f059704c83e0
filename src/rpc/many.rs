//! Many `Chat` streams of one process without a thread for each: what comes in
//! is handed to a function on the poll thread, what goes out waits in a queue.
//! For a load generator, which only looks at where events stand.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use crossbeam_channel::{Receiver, Sender, unbounded};
use futures_util::future::poll_fn;
use futures_util::sink::Sink;
use futures_util::stream::StreamExt;
use futures_util::task::AtomicWaker;
use grpcio::{CallOption, Channel, ClientDuplexReceiver, ClientDuplexSender, WriteFlags};

use super::dial::{CallError, Dialled};
use super::stream::guarded;
use crate::wire::{CHAT_SIGHTINGS, ClientFrame, Sighting};

/// The way out of an attended stream. Never blocks: the queue has no bound,
/// since whoever fills it decides how much is under way.
#[derive(Clone)]
pub struct Outgoing {
    frames: Sender<ClientFrame>,
    line: Arc<Line>,
}

/// The other end of an [`Outgoing`], to be given to [`Dialled::attend`].
pub struct OutgoingQueue {
    frames: Receiver<ClientFrame>,
    line: Arc<Line>,
}

#[derive(Default)]
struct Line {
    waker: AtomicWaker,
    closed: AtomicBool,
    cancelled: AtomicBool,
}

/// A way out whose stream is not open yet; what is sent until then waits.
pub fn outgoing() -> (Outgoing, OutgoingQueue) {
    let (sender, frames) = unbounded();
    let line = Arc::new(Line::default());
    let outgoing = Outgoing {
        frames: sender,
        line: line.clone(),
    };
    (outgoing, OutgoingQueue { frames, line })
}

impl Outgoing {
    /// Queues a frame. After the end of the stream it goes nowhere.
    pub fn send(&self, frame: ClientFrame) {
        let _ = self.frames.send(frame);
        self.line.waker.wake();
    }

    /// Says, after what is queued, that nothing more comes. The server answers
    /// by ending its half.
    pub fn close(&self) {
        self.line.closed.store(true, Ordering::Release);
        self.line.waker.wake();
    }

    /// Ends the call at once, in both directions.
    pub fn cancel(&self) {
        self.line.cancelled.store(true, Ordering::Release);
        self.line.waker.wake();
    }
}

impl Dialled {
    /// Opens a `Chat` stream. `hear` is called with the events of every frame,
    /// and last with `Ok(None)` if the server ended the call well or with an
    /// error if it ended otherwise. It runs on a poll thread, so it must not
    /// block.
    ///
    /// # Errors
    /// Why there is no stream; `hear` is not called then.
    pub fn attend(
        self,
        queue: OutgoingQueue,
        hear: impl FnMut(Result<Option<Vec<Sighting>>, CallError>) + Send + 'static,
    ) -> Result<(), CallError> {
        let (mut sink, stream) = self
            .client()
            .duplex_streaming(&CHAT_SIGHTINGS, CallOption::default())?;
        // What is queued together goes out in one write, as far as it can.
        sink.enhance_batch(true);
        let mut attendance = Attendance {
            sink: Some(sink),
            stream,
            queue,
            hear,
            _channel: self.client().channel().clone(),
        };
        self.client().spawn(guarded("client", async move {
            poll_fn(|cx| attendance.poll(cx)).await;
        }));
        Ok(())
    }
}

struct Attendance<F> {
    /// `None` once it is closed or has failed: polled again it would panic.
    sink: Option<ClientDuplexSender<ClientFrame>>,
    stream: ClientDuplexReceiver<Vec<Sighting>>,
    queue: OutgoingQueue,
    hear: F,
    // Dropped last: without a channel not even a cancellation gets out.
    _channel: Channel,
}

impl<F: FnMut(Result<Option<Vec<Sighting>>, CallError>)> Attendance<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Registered before the queue is looked at: whoever adds something
        // after the look finds the waker, and this is polled again.
        self.queue.line.waker.register(cx.waker());
        if self.queue.line.cancelled.load(Ordering::Acquire) {
            (self.hear)(Err(CallError::Lost));
            return Poll::Ready(()); // dropping the stream cancels the call
        }
        while let Poll::Ready(next) = self.stream.poll_next_unpin(cx) {
            let next = next.transpose().map_err(CallError::from);
            let is_over = !matches!(next, Ok(Some(_)));
            (self.hear)(next);
            if is_over {
                return Poll::Ready(());
            }
        }
        if let Some(sink) = &mut self.sink
            && self.queue.poll_write(Pin::new(sink), cx).is_ready()
        {
            self.sink = None; // if it failed, the stream will say why
        }
        Poll::Pending
    }
}

impl OutgoingQueue {
    /// Writes until the stream is closed or has failed.
    fn poll_write(
        &self,
        mut sink: Pin<&mut ClientDuplexSender<ClientFrame>>,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<()>> {
        loop {
            ready!(sink.as_mut().poll_ready(cx))?;
            // Looked up before the queue, so that what was queued before the
            // end is certainly sent.
            let closed = self.line.closed.load(Ordering::Acquire);
            match self.frames.try_recv() {
                Ok(frame) => sink.as_mut().start_send((frame, WriteFlags::default()))?,
                Err(_) => {
                    ready!(sink.as_mut().poll_flush(cx))?;
                    match closed {
                        true => return sink.poll_close(cx),
                        false => return Poll::Pending,
                    }
                }
            }
        }
    }
}
