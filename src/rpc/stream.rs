//! A stream of the server as its session thread sees it, and the read pump
//! that feeds it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded, select};
use futures_util::FutureExt;
use futures_util::future::poll_fn;
use futures_util::ready;
use futures_util::stream::StreamExt;
use grpcio::{DuplexSink, MessageReader, RequestStream, RpcContext};

use super::caller::Caller;
use super::inbox::{Inbox, StreamEnd};
use super::outbox::Outbox;
use super::pump::{outbox, write_pump};
use crate::wire::{Ending, Frame, Request};

/// A stream: an inbox that its pump fills and an outbox that its pump empties.
/// Dropping it ends the call, however far the client has read.
pub struct Connection {
    /// Who is at the other end.
    pub caller: Caller,
    inbox: Arc<Inbox>,
    outbox: Outbox,
    /// Disconnected when the write pump has ended.
    written: Receiver<()>,
    /// Its end may take as long as the client takes to read it.
    left_alone: bool,
}

/// Tells a session that it shall end, wherever it waits for its client.
#[derive(Clone)]
pub struct Kick(Arc<Inbox>);

impl Kick {
    /// Ends the session's wait. Harmless afterwards.
    pub fn kick(&self) {
        self.0.kick();
    }
}

impl Connection {
    /// Waits until the client has sent something, or nothing comes any more.
    pub fn wait(&self) {
        self.inbox.wait();
    }

    /// As [`wait`](Self::wait), but for at most `patience`. Returns whether it
    /// has.
    pub fn wait_for(&self, patience: Duration) -> bool {
        self.inbox.wait_for(patience)
    }

    /// Moves all that the client has sent into `requests`, which is empty.
    /// Returns why nothing comes after that, if nothing does.
    pub fn take(&self, requests: &mut Vec<Request>) -> Option<StreamEnd> {
        self.inbox.take(requests)
    }

    /// Sleeps.
    ///
    /// # Errors
    /// Early, why nothing more is to be done: the session is kicked, or nothing
    /// goes out any more. That much is known even while nobody reads because
    /// much has come.
    pub fn sleep(&self, time: Duration) -> Result<(), StreamEnd> {
        select! {
            recv(self.inbox.bell()) -> _ => Err(StreamEnd::Kicked),
            // Who wants the session to end says so before the pump ends.
            recv(self.written) -> _ => Err(match self.outbox.ending() {
                Some(_) => StreamEnd::Kicked,
                None => StreamEnd::Lost,
            }),
            default(time) => Ok(()),
        }
    }

    /// A handle on the way out.
    pub fn outbox(&self) -> Outbox {
        self.outbox.clone()
    }

    /// A handle that ends the session's wait.
    pub fn kick(&self) -> Kick {
        Kick(self.inbox.clone())
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
        self.inbox.finish();
    }
}

/// Starts the pumps of a call whose client sends a stream.
pub(super) fn open(
    ctx: &RpcContext<'_>,
    frames: RequestStream<MessageReader>,
    max_frame_bytes: usize,
    sink: DuplexSink<Frame>,
    outbox_bound: usize,
) -> Connection {
    let (connection, pump) = open_reply(ctx, sink, outbox_bound);
    ctx.spawn(guarded("write", pump));
    let pump = read_pump(frames, max_frame_bytes, connection.inbox.clone());
    ctx.spawn(guarded("read", pump));
    connection
}

/// A call that answers, and the pump for what it does: to be run on this poll
/// thread.
pub(super) fn open_reply(
    ctx: &RpcContext<'_>,
    sink: DuplexSink<Frame>,
    outbox_bound: usize,
) -> (Connection, impl Future<Output = ()> + Send + use<>) {
    let inbox = Arc::new(Inbox::default());
    let (outbox, pump) = outbox(outbox_bound, Kick(inbox.clone()), sink);
    let (writing, written) = bounded(0);
    let connection = Connection {
        caller: Caller::of(ctx),
        inbox,
        outbox,
        written,
        left_alone: false,
    };
    let pump = async move {
        let _writing: Sender<()> = writing;
        write_pump(pump).await;
    };
    (connection, pump)
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
    inbox: Arc<Inbox>,
) {
    let filling = Filling(inbox);
    let inbox = &filling.0;
    let end = loop {
        let read = poll_fn(|cx| poll_read(&mut frames, inbox, cx)).await;
        if let Err(end) = read.and_then(|frame| inbox.add(frame, max_frame_bytes)) {
            break end;
        }
    };
    inbox.end(end);
    // Dropping the frames before the answer is out would cancel the call.
    poll_fn(|cx| inbox.poll_finished(cx)).await;
}

/// Says at the end of a read pump, however it comes, that nothing more comes.
struct Filling(Arc<Inbox>);

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.end(StreamEnd::Lost);
    }
}

fn poll_read(
    frames: &mut RequestStream<MessageReader>,
    inbox: &Inbox,
    cx: &mut Context<'_>,
) -> Poll<Result<MessageReader, StreamEnd>> {
    ready!(inbox.poll_room(cx))?;
    frames.poll_next_unpin(cx).map(|next| match next {
        Some(Ok(frame)) => Ok(frame),
        Some(Err(_)) => Err(StreamEnd::Lost),
        None => Err(StreamEnd::Closed),
    })
}
