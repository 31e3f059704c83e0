//! A stream of the server as its session thread sees it, and the read pump
//! that feeds it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_channel::{
    Receiver, RecvTimeoutError, Select, Sender, TryRecvError, TrySendError, bounded,
};
use futures_util::FutureExt;
use futures_util::future::poll_fn;
use futures_util::stream::StreamExt;
use futures_util::task::AtomicWaker;
use grpcio::{MessageReader, RequestStream, RpcContext};

use super::caller::Caller;
use super::outbox::Outbox;
use super::pump::{ServerSink, outbox, write_pump};
use crate::wire::{Ending, Request, read_requests};

/// Frames that wait for the session thread. When they are this many, the read
/// pump stops reading, and HTTP/2's flow control slows that one client.
const INBOX_FRAMES: usize = 64;

/// A stream: an inbox that its pump fills and an outbox that its pump empties.
/// Dropping it ends the call, however far the client has read.
pub struct Connection {
    /// Who is at the other end.
    pub caller: Caller,
    inbox: Receiver<Inbound>,
    reader: Arc<Reader>,
    outbox: Outbox,
    /// Disconnected when the write pump has ended.
    written: Receiver<()>,
    /// Its end may take as long as the client takes to read it.
    left_alone: bool,
}

/// What comes in on a stream.
#[derive(Debug)]
pub enum Inbound {
    /// A frame.
    Requests(Vec<Request>),
    /// The last thing that comes.
    Ended(StreamEnd),
}

/// Why nothing more comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// The client closed its half, or vanished: gRPC does not tell these apart.
    Closed,
    /// The call was cancelled or its connection was lost.
    Lost,
    /// A frame that cannot be read, and what the client is told of it.
    Unreadable(Ending),
    /// The server wants the session to end; the outbox says why.
    Kicked,
}

/// Tells a session that it shall end, wherever it waits for its client.
#[derive(Clone)]
pub struct Kick(Arc<Reader>);

struct Reader {
    /// Holds a message once the session was kicked, for one that sleeps.
    bell: (Sender<()>, Receiver<()>),
    waker: AtomicWaker,
    /// Woken when the session has taken something out of a full inbox.
    space: AtomicWaker,
    kicked: AtomicBool,
    finished: AtomicBool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            bell: bounded(1),
            waker: AtomicWaker::new(),
            space: AtomicWaker::new(),
            kicked: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }
}

impl Kick {
    /// Ends the session's wait. Harmless afterwards.
    pub fn kick(&self) {
        self.0.kicked.store(true, Ordering::Release);
        self.0.waker.wake();
        self.0.space.wake();
        let _ = self.0.bell.0.try_send(()); // it rings already
    }
}

impl Connection {
    /// Waits for the next frame. After [`Inbound::Ended`] nothing comes.
    pub fn recv(&self) -> Inbound {
        if let Some(inbound) = self.try_recv() {
            return inbound;
        }
        // What is on its way has come after one yield. A plain `recv` yields
        // several times, which costs a thousand busy sessions more than their
        // work; selecting sleeps at once.
        std::thread::yield_now();
        let mut select = Select::new();
        select.recv(&self.inbox);
        let inbound = select.select().recv(&self.inbox);
        self.reader.space.wake();
        inbound.unwrap_or(Inbound::Ended(StreamEnd::Lost))
    }

    /// As [`recv`](Self::recv), but for at most `patience`.
    pub fn recv_timeout(&self, patience: Duration) -> Option<Inbound> {
        let inbound = match self.inbox.recv_timeout(patience) {
            Ok(inbound) => inbound,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => Inbound::Ended(StreamEnd::Lost),
        };
        self.reader.space.wake();
        Some(inbound)
    }

    /// The next frame, if it is there.
    pub fn try_recv(&self) -> Option<Inbound> {
        let inbound = self.inbox.try_recv().ok();
        self.reader.space.wake();
        inbound
    }

    /// Sleeps. Returns false, early, when the session is kicked.
    pub fn sleep(&self, time: Duration) -> bool {
        self.reader.bell.1.recv_timeout(time).is_err()
    }

    /// A handle on the way out.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// A handle that ends the session's wait.
    pub fn kick(&self) -> Kick {
        Kick(self.reader.clone())
    }

    /// Whether nothing goes out any more, because the client has gone or has
    /// read to the end.
    pub fn is_over(&self) -> bool {
        self.written.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Ends a stream that has sent nothing, without waiting for its end. For
    /// poll threads.
    pub fn refuse(mut self, ending: Ending) {
        self.outbox.close(ending);
        self.left_alone = true;
    }

    /// Ends the stream: what is queued goes out, then the status. A client
    /// that has not read it all within `patience` is cancelled. Returns
    /// whether everything went out.
    pub fn finish(self, ending: Ending, patience: Duration) -> bool {
        self.outbox.close(ending);
        self.finished(patience)
    }

    /// As [`finish`](Self::finish), where somebody else closes the outbox.
    pub fn finished(self, patience: Duration) -> bool {
        self.written.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.left_alone {
            self.outbox.abandon();
        }
        self.reader.finished.store(true, Ordering::Release);
        self.reader.waker.wake();
        self.reader.space.wake();
    }
}

/// Starts the pumps of a call whose client sends a stream.
pub(super) fn open(
    ctx: &RpcContext<'_>,
    frames: RequestStream<MessageReader>,
    max_frame_bytes: usize,
    sink: impl ServerSink,
    outbox_bound: usize,
) -> Connection {
    let (into_inbox, inbox) = bounded(INBOX_FRAMES);
    let connection = open_outward(ctx, sink, outbox_bound, inbox);
    let reader = connection.reader.clone();
    let pump = read_pump(frames, max_frame_bytes, into_inbox, reader);
    ctx.spawn(guarded("read", pump));
    connection
}

/// Starts the pump of a call whose client has sent all that it sends.
pub(super) fn open_reply(
    ctx: &RpcContext<'_>,
    sink: impl ServerSink,
    outbox_bound: usize,
) -> Connection {
    open_outward(ctx, sink, outbox_bound, bounded(0).1)
}

fn open_outward(
    ctx: &RpcContext<'_>,
    sink: impl ServerSink,
    outbox_bound: usize,
    inbox: Receiver<Inbound>,
) -> Connection {
    let reader = Arc::new(Reader::default());
    let (outbox, pump) = outbox(outbox_bound, Kick(reader.clone()), sink);
    let (writing, written) = bounded(0);
    ctx.spawn(guarded("write", async move {
        let _writing: Sender<()> = writing;
        write_pump(pump).await;
    }));
    Connection {
        caller: Caller::of(ctx),
        inbox,
        reader,
        outbox,
        written,
        left_alone: false,
    }
}

/// A panic in a pump would silently end the poll thread, and with it a good
/// part of all clients; so it ends its own stream only.
pub(super) async fn guarded(which: &'static str, pump: impl Future<Output = ()>) {
    if AssertUnwindSafe(pump).catch_unwind().await.is_err() {
        log::error!("a {which} pump panicked; its stream has ended");
    }
}

/// Moves frames from the client to the inbox until there are no more.
async fn read_pump(
    mut frames: RequestStream<MessageReader>,
    max_frame_bytes: usize,
    inbox: Sender<Inbound>,
    reader: Arc<Reader>,
) {
    loop {
        let inbound = poll_fn(|cx| poll_read(&mut frames, max_frame_bytes, &reader, cx)).await;
        let ended = matches!(inbound, Inbound::Ended(_));
        let mut inbound = Some(inbound);
        poll_fn(|cx| poll_deliver(&inbox, &mut inbound, &reader, cx)).await;
        if ended {
            break;
        }
    }
    // Dropping the frames before the answer is out would cancel the call.
    poll_fn(|cx| {
        reader.waker.register(cx.waker());
        match reader.finished.load(Ordering::Acquire) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

fn poll_read(
    frames: &mut RequestStream<MessageReader>,
    max_frame_bytes: usize,
    reader: &Reader,
    cx: &mut Context<'_>,
) -> Poll<Inbound> {
    reader.waker.register(cx.waker());
    if reader.kicked.load(Ordering::Acquire) || reader.finished.load(Ordering::Acquire) {
        return Poll::Ready(Inbound::Ended(StreamEnd::Kicked));
    }
    frames.poll_next_unpin(cx).map(|next| match next {
        Some(Ok(frame)) => match read_requests(frame, max_frame_bytes) {
            Ok(requests) => Inbound::Requests(requests),
            Err(ending) => Inbound::Ended(StreamEnd::Unreadable(ending)),
        },
        Some(Err(_)) => Inbound::Ended(StreamEnd::Lost),
        None => Inbound::Ended(StreamEnd::Closed),
    })
}

/// Waits, as a future, until the inbox has room or its session is gone.
fn poll_deliver(
    inbox: &Sender<Inbound>,
    inbound: &mut Option<Inbound>,
    reader: &Reader,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let Some(item) = inbound.take() else {
        return Poll::Ready(());
    };
    let Err(TrySendError::Full(item)) = inbox.try_send(item) else {
        return Poll::Ready(());
    };
    // Registered, then tried again: room made in between is not overlooked.
    reader.space.register(cx.waker());
    let Err(TrySendError::Full(item)) = inbox.try_send(item) else {
        return Poll::Ready(());
    };
    *inbound = Some(item);
    match reader.finished.load(Ordering::Acquire) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }
}
