//! The way out of the server: one outbox and one write pump a stream.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded, unbounded};
use futures_util::future::poll_fn;
use futures_util::ready;
use futures_util::sink::Sink;
use futures_util::task::AtomicWaker;
use grpcio::{DuplexSink, RpcStatus, ServerStreamingSink, WriteFlags};

use super::stream::Kick;
use crate::wire::{Ending, Frame};

/// Pages of the past that may wait for the pump. Few: whoever reads them from
/// the history waits, and the store's pages are larger than this.
const PAST_PAGES: usize = 4;

/// Batches that wait are joined until they have this many bytes: far below
/// what gRPC clients read, 4 MB.
const JOINED_BYTES: usize = 64 * 1024;

/// A member's outbox: what fan-out puts in, the write pump sends.
///
/// It is bounded in events. The channel itself is an unbounded one with a
/// count beside it, since crossbeam allocates a bounded channel whole: at
/// thousands of idle members that would be most of the memory.
#[derive(Clone)]
pub struct Outbox {
    frames: Sender<Frame>,
    line: Arc<Line>,
}

/// The outbox was full: its member is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// What both ends of an outbox share.
struct Line {
    waker: AtomicWaker,
    /// Events in the channel.
    depth: AtomicUsize,
    bound: usize,
    /// Why the stream ends; once set, it ends.
    ending: OnceLock<Ending>,
    /// End without sending what is queued.
    cut: AtomicBool,
    /// Cancel the call, whatever the client has read.
    abandoned: AtomicBool,
    /// On its way to the pump: what goes first.
    past: Mutex<Past>,
    past_set: AtomicBool,
    kick: Kick,
}

/// The past's way from its reader to the pump.
enum Past {
    None,
    Set(Receiver<Vec<Frame>>),
    /// The pump has ended. Whoever waits to send something must not wait for it.
    Over,
}

/// Sends frames of the past, which go before anything in the outbox. Live
/// frames wait until it is dropped.
pub struct PastSender {
    pages: Option<Sender<Vec<Frame>>>,
    line: Arc<Line>,
}

impl Outbox {
    /// Queues a frame for this member and wakes its pump. Never blocks.
    ///
    /// # Errors
    /// [`Overflow`] if the member is too far behind; the frame is not queued.
    pub fn send(&self, frame: &Frame) -> Result<(), Overflow> {
        let line = &self.line;
        // Only the journal thread adds, so a check before the addition is enough.
        if line.depth.load(Ordering::Relaxed) + frame.events() > line.bound {
            return Err(Overflow);
        }
        line.depth.fetch_add(frame.events(), Ordering::Relaxed);
        // A stream that has ended has no pump any more; its session says so.
        let _ = self.frames.send(frame.clone());
        line.waker.wake();
        Ok(())
    }

    /// Ends the stream once everything queued is sent. The first reason stands.
    pub fn close(&self, ending: Ending) {
        let _ = self.line.ending.set(ending);
        self.line.waker.wake();
    }

    /// As [`close`](Self::close), and tells the session, which may be waiting
    /// for its client.
    pub fn close_and_kick(&self, ending: Ending) {
        self.close(ending);
        self.line.kick.kick();
    }

    /// Ends the stream without what is queued, and tells the session.
    pub fn cut(&self, ending: Ending) {
        let _ = self.line.ending.set(ending);
        self.line.cut.store(true, Ordering::Release);
        self.line.waker.wake();
        self.line.kick.kick();
    }

    /// Why the stream ends, if it does.
    pub fn ending(&self) -> Option<&Ending> {
        self.line.ending.get()
    }

    /// Events that wait to be sent.
    pub fn depth(&self) -> usize {
        self.line.depth.load(Ordering::Relaxed)
    }

    /// Holds live frames back until the sender that this returns is dropped.
    /// To be called before the outbox is handed to the journal.
    pub fn begin_past(&self) -> PastSender {
        let (pages, receiver) = bounded(PAST_PAGES);
        let mut past = self.line.past();
        if !matches!(*past, Past::Over) {
            *past = Past::Set(receiver);
        }
        drop(past);
        self.line.past_set.store(true, Ordering::Release);
        PastSender {
            pages: Some(pages),
            line: self.line.clone(),
        }
    }

    /// Cancels the call: for a client that does not read its end.
    pub(super) fn abandon(&self) {
        self.line.abandoned.store(true, Ordering::Release);
        self.line.waker.wake();
    }
}

impl Line {
    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PastSender {
    /// Queues a page, waiting for the client to read.
    ///
    /// # Errors
    /// The stream has ended.
    pub fn send(&self, page: Vec<Frame>) -> Result<(), Ending> {
        let sent = self.pages.as_ref().is_some_and(|p| p.send(page).is_ok());
        self.line.waker.wake();
        match sent {
            true => Ok(()),
            false => Err(self.line.ending.get().cloned().unwrap_or(Ending::Goodbye)),
        }
    }
}

impl Drop for PastSender {
    fn drop(&mut self) {
        self.pages = None; // disconnect first: the pump looks when it is woken
        self.line.waker.wake();
    }
}

/// The pump's end of an outbox.
pub(super) struct OutboxReader {
    frames: Receiver<Frame>,
    past: Option<Receiver<Vec<Frame>>>,
    /// What is left of the page that is being sent.
    page: std::vec::IntoIter<Frame>,
    /// Taken out behind a batch, but none itself.
    held: Option<Frame>,
    line: Arc<Line>,
}

pub(super) fn outbox(bound: usize, kick: Kick) -> (Outbox, OutboxReader) {
    let (sender, frames) = unbounded();
    let line = Arc::new(Line {
        waker: AtomicWaker::new(),
        depth: AtomicUsize::new(0),
        bound,
        ending: OnceLock::new(),
        cut: AtomicBool::new(false),
        abandoned: AtomicBool::new(false),
        past: Mutex::new(Past::None),
        past_set: AtomicBool::new(false),
        kick,
    });
    let outbox = Outbox {
        frames: sender,
        line: line.clone(),
    };
    (
        outbox,
        OutboxReader {
            frames,
            past: None,
            page: Vec::new().into_iter(),
            held: None,
            line,
        },
    )
}

impl Drop for OutboxReader {
    /// Nothing more of the past is taken: whoever sends it is told.
    fn drop(&mut self) {
        *self.line.past() = Past::Over;
    }
}

/// What the pump does next.
enum Next {
    Frame(Frame),
    /// Nothing is queued: let what was written go out, then wait.
    Idle,
    /// Let what was written go out, then say why and end.
    End(Ending),
}

impl OutboxReader {
    fn next(&mut self) -> Next {
        let line = &self.line;
        if line.past_set.swap(false, Ordering::AcqRel) {
            let set = std::mem::replace(&mut *line.past(), Past::None);
            if let Past::Set(past) = set {
                self.past = Some(past);
            }
        }
        while let Some(past) = &self.past {
            if let Some(frame) = self.page.next() {
                return Next::Frame(frame);
            }
            match past.try_recv() {
                Ok(page) => self.page = page.into_iter(),
                Err(TryRecvError::Empty) => return Next::Idle,
                Err(TryRecvError::Disconnected) => self.past = None,
            }
        }
        // The reason is looked up before the queue: what was queued before the
        // reason was set is then certainly seen.
        let ending = line.ending.get().cloned();
        match (self.take(), ending) {
            (Some(frame), _) => Next::Frame(frame),
            (None, Some(ending)) => Next::End(ending),
            (None, None) => Next::Idle,
        }
    }

    /// The next frame, together with the batches that wait behind it: each
    /// operation costs gRPC's core about a microsecond, however little it
    /// sends, so the further behind a member is, the more it gets at once.
    fn take(&mut self) -> Option<Frame> {
        let first = self.held.take().or_else(|| self.frames.try_recv().ok())?;
        let frame = match first.is_batch() && !self.frames.is_empty() {
            true => self.joined(first),
            false => first,
        };
        self.line.depth.fetch_sub(frame.events(), Ordering::Relaxed);
        Some(frame)
    }

    fn joined(&mut self, first: Frame) -> Frame {
        let mut bytes = first.len();
        let mut frames = vec![first];
        while bytes < JOINED_BYTES {
            match self.frames.try_recv() {
                Ok(next) if next.is_batch() => {
                    bytes += next.len();
                    frames.push(next);
                }
                other => {
                    self.held = other.ok();
                    break;
                }
            }
        }
        Frame::join(frames)
    }

    /// Writes until the stream is to end (`Some`) or to be cancelled (`None`).
    fn poll_write<S: ServerSink>(
        &mut self,
        mut sink: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<Option<Ending>>> {
        // Registered before the queue is looked at: whoever adds something
        // after the look finds the waker, and this is polled again.
        self.line.waker.register(cx.waker());
        loop {
            if self.line.abandoned.load(Ordering::Acquire) {
                return Poll::Ready(Ok(None));
            }
            if self.line.cut.load(Ordering::Acquire) {
                return Poll::Ready(Ok(self.line.ending.get().cloned()));
            }
            ready!(sink.as_mut().poll_ready(cx))?;
            match self.next() {
                Next::Frame(frame) => sink.as_mut().start_send((frame, WriteFlags::default()))?,
                Next::Idle => {
                    // A flush that is done also watches for the call's end.
                    ready!(sink.as_mut().poll_flush(cx))?;
                    return Poll::Pending;
                }
                Next::End(ending) => {
                    ready!(sink.as_mut().poll_flush(cx))?;
                    return Poll::Ready(Ok(Some(ending)));
                }
            }
        }
    }
}

/// The server's end of a stream: the two kinds that there are.
pub(super) trait ServerSink:
    Sink<(Frame, WriteFlags), Error = grpcio::Error> + Unpin
{
    fn join_writes(&mut self);
    fn ends_with(&mut self, status: RpcStatus);
}

impl ServerSink for DuplexSink<Frame> {
    fn join_writes(&mut self) {
        self.enhance_batch(true);
    }

    fn ends_with(&mut self, status: RpcStatus) {
        self.set_status(status);
    }
}

impl ServerSink for ServerStreamingSink<Frame> {
    fn join_writes(&mut self) {
        self.enhance_batch(true);
    }

    fn ends_with(&mut self, status: RpcStatus) {
        self.set_status(status);
    }
}

/// Moves frames from the outbox to the client until the stream ends.
///
/// After an error the sink is not touched again: a second use can panic
/// inside grpcio. Dropping it unclosed cancels the call.
pub(super) async fn write_pump(mut sink: impl ServerSink, mut outbox: OutboxReader) {
    // All but the last of several queued frames carry the hint that more
    // follow, so that the core joins them in one write.
    sink.join_writes();
    let ending = poll_fn(|cx| outbox.poll_write(Pin::new(&mut sink), cx)).await;
    let line = outbox.line.clone();
    drop(outbox);
    let Ok(Some(ending)) = ending else { return };
    sink.ends_with(ending.to_status());
    poll_fn(|cx| {
        line.waker.register(cx.waker());
        if line.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        Pin::new(&mut sink).poll_close(cx).map(|_| ())
    })
    .await;
}
