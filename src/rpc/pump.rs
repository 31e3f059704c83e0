//! The write pump: moves frames from a stream's outbox to its client.
//!
//! It is a task on the poll thread of its call. But whoever has something for
//! the client may run it as well, on its own thread ([`Outbox::write`]), and so
//! spare a frame the way through another. Whoever comes while it runs leaves
//! word, and whoever runs it looks again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};

use crossbeam_channel::{Receiver, TryRecvError, unbounded};
use futures_util::future::poll_fn;
use futures_util::ready;
use futures_util::sink::Sink;
use futures_util::task::waker_ref;
use grpcio::{DuplexSink, WriteFlags};

use super::outbox::{Line, Outbox, Queued};
use super::stream::Kick;
use crate::wire::{Ending, Frame};

/// Batches that wait are joined until they have this many bytes: far below
/// what gRPC clients read, 4 MB.
const JOINED_BYTES: usize = 64 * 1024;

/// An outbox and the pump that empties it into `sink`.
pub(super) fn outbox(
    bound: usize,
    kick: Kick,
    mut sink: DuplexSink<Frame>,
) -> (Outbox, Arc<WritePump>) {
    // All but the last of several queued frames carry the hint that more
    // follow, so that the core joins them in one write.
    sink.enhance_batch(true);
    let (queue, waiting) = unbounded();
    let pump = Arc::new_cyclic(|pump: &Weak<WritePump>| {
        let line = Arc::new(Line::new(bound, kick, pump.clone()));
        WritePump {
            calls: AtomicUsize::new(0),
            work: Mutex::new(Some(Work {
                sink,
                reader: OutboxReader::new(waiting, line.clone()),
                end: None,
            })),
            line,
        }
    });
    let outbox = Outbox {
        queue,
        line: pump.line.clone(),
    };
    (outbox, pump)
}

/// A pump that any thread may run.
pub(super) trait Pump: Send + Sync {
    /// Sends what is queued, as far as gRPC takes it at once. Never waits: if
    /// another thread runs the pump, that one goes on with it.
    fn run(&self);
}

pub(super) struct WritePump {
    /// How often it was to be run since it last stood still. Whoever finds it
    /// at 0 runs it.
    calls: AtomicUsize,
    /// Never waited for: only whoever runs the pump takes it for longer than a
    /// look. `None` when it has ended.
    work: Mutex<Option<Work>>,
    line: Arc<Line>,
}

struct Work {
    sink: DuplexSink<Frame>,
    reader: OutboxReader,
    /// Set when it shall not be run again: why the stream ends, or that it is
    /// to be cancelled.
    end: Option<grpcio::Result<Option<Ending>>>,
}

impl Pump for WritePump {
    fn run(&self) {
        if self.calls.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        let mut seen = 1;
        loop {
            self.work_once();
            let done = (self.calls).compare_exchange(seen, 0, Ordering::AcqRel, Ordering::Acquire);
            match done {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }
}

impl WritePump {
    fn work_once(&self) {
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Work { sink, reader, end }) = &mut *work else {
            return;
        };
        if end.is_none() {
            let waker = waker_ref(&self.line);
            let mut cx = Context::from_waker(&waker);
            let sink = Pin::new(sink);
            let written = catch_unwind(AssertUnwindSafe(|| reader.poll_write(sink, &mut cx)));
            *end = match written {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(end)) => Some(end),
                Err(_) => {
                    log::error!("a write pump panicked; its stream has ended");
                    Some(Ok(None))
                }
            };
        }
        let has_ended = end.is_some();
        drop(work);
        // Its task does the rest. Also where another look has found the end
        // again: the task may have come while that look held the work.
        if has_ended {
            self.line.waker.wake();
        }
    }

    /// What the pump's task takes over when the pump is not to be run again.
    fn ended(&self) -> Option<Work> {
        // If it is taken, the one who runs it wakes the task at its end.
        let mut work = self.work.try_lock().ok()?;
        work.take_if(|work| work.end.is_some())
    }
}

/// The pump's task: runs it whenever something happens, until the stream ends.
///
/// After an error the sink is not touched again: a second use can panic
/// inside grpcio. Dropping it unclosed cancels the call.
pub(super) async fn write_pump(pump: Arc<WritePump>) {
    let over = Over(pump.line.clone());
    let line = &over.0;
    let Work { mut sink, end, .. } = poll_fn(|cx| {
        // Registered before the pump looks at the queue: whoever adds something
        // after the look finds the waker, and this is polled again.
        line.waker.register(cx.waker());
        line.run_lane();
        pump.run();
        pump.ended().map_or(Poll::Pending, Poll::Ready)
    })
    .await;
    let Some(Ok(Some(ending))) = end else { return };
    sink.set_status(ending.to_status());
    poll_fn(|cx| {
        line.waker.register(cx.waker());
        line.run_lane();
        if line.abandoned.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        Pin::new(&mut sink).poll_close(cx).map(|_| ())
    })
    .await;
}

/// Says at the end of a pump's task, however it comes, that it was.
struct Over(Arc<Line>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.task_ended();
    }
}

/// The pump's end of an outbox.
struct OutboxReader {
    queue: Receiver<Queued>,
    past: Option<Receiver<Vec<Frame>>>,
    /// What is left of the page that is being sent.
    page: std::vec::IntoIter<Frame>,
    /// Taken out, but to be sent later: what is no batch behind one, or the
    /// rest of the singles.
    held: Option<Queued>,
    line: Arc<Line>,
}

impl Drop for OutboxReader {
    fn drop(&mut self) {
        self.line.end_past();
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
    fn new(queue: Receiver<Queued>, line: Arc<Line>) -> Self {
        Self {
            queue,
            past: None,
            page: Vec::new().into_iter(),
            held: None,
            line,
        }
    }

    fn next(&mut self) -> Next {
        let line = &self.line;
        if let Some(past) = line.take_past() {
            self.past = Some(past);
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
        let frame = match self.held.take().or_else(|| self.queue.try_recv().ok())? {
            Queued::Frame(first) if first.is_batch() && !self.queue.is_empty() => {
                self.joined(first)
            }
            Queued::Frame(frame) => frame,
            Queued::Singles(singles, at) => {
                let frame = singles.get(at)?.clone();
                if at + 1 < singles.len() {
                    self.held = Some(Queued::Singles(singles, at + 1));
                }
                frame
            }
        };
        self.line.depth.fetch_sub(frame.events(), Ordering::Relaxed);
        Some(frame)
    }

    fn joined(&mut self, first: Frame) -> Frame {
        let mut bytes = first.len();
        let mut frames = vec![first];
        while bytes < JOINED_BYTES {
            match self.queue.try_recv() {
                Ok(Queued::Frame(next)) if next.is_batch() => {
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
    fn poll_write(
        &mut self,
        mut sink: Pin<&mut DuplexSink<Frame>>,
        cx: &mut Context<'_>,
    ) -> Poll<grpcio::Result<Option<Ending>>> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{Receiver, bounded};

    use crate::chat::{Event, Kind};
    use crate::rpc::{
        Connection, ConnectionLimits, Dialled, Dialler, EventReader, Keepalive, Listener, Listening,
    };
    use crate::wire::{Ending, Frame};

    const PATIENCE: Duration = Duration::from_secs(60);

    const LIMITS: ConnectionLimits = ConnectionLimits {
        keepalive: Keepalive {
            every: PATIENCE,
            patience: PATIENCE,
        },
        max_receive_bytes: 1024,
        max_streams: 2,
        handshake: PATIENCE,
        question: PATIENCE,
        idle: PATIENCE,
        max_answers: 1,
    };

    fn frame(time: i64) -> Frame {
        let event = Event {
            time,
            seq: 0,
            kind: Kind::Message,
            sender_id: 1,
            sender: "Alex".into(),
            text: "a line".to_owned(),
            sent: 0,
            wall_ms: 0,
            to: None,
        };
        Frame::single(&event, false)
    }

    fn times(reader: &mut EventReader) -> Vec<i64> {
        let read = reader.recv().unwrap().unwrap();
        read.iter().map(|received| received.event.time).collect()
    }

    /// A server on one poll thread, the connections that it accepts, and the way
    /// to it.
    fn served(outbox_events: usize) -> (Listening, Receiver<Connection>, Dialled) {
        let (accepted, connections) = bounded(2);
        let listening = Listener::new(1, LIMITS)
            .chat(outbox_events, move |connection| {
                accepted.send(connection).unwrap();
            })
            .listen(&["127.0.0.1:0".to_owned()]);
        let mut listening = listening.unwrap();
        listening.serve();
        let dialler = Dialler::new(Keepalive::default());
        let dialled = dialler.dial(&listening.addresses()[0], PATIENCE).unwrap();
        (listening, connections, dialled)
    }

    #[test]
    fn any_thread_may_write_beside_the_poll_thread_and_without_it() {
        let (accepted, connections) = bounded(2);
        let (let_go, held) = bounded(1);
        let (report, was_let_go) = bounded(2);
        // The server's one poll thread stands still in each handler until it
        // is let go.
        let listening = Listener::new(1, LIMITS)
            .chat(1_000_000, move |connection| {
                accepted.send(connection).unwrap();
                report.send(held.recv_timeout(PATIENCE)).unwrap();
            })
            .listen(&["127.0.0.1:0".to_owned()]);
        let mut listening = listening.unwrap();
        listening.serve();
        let address = &listening.addresses()[0];
        let dialler = Dialler::new(Keepalive::default());
        let dialled = dialler.dial(address, PATIENCE).unwrap();

        let (_writer, mut reader) = dialled.chat().unwrap();
        let first = connections.recv_timeout(PATIENCE).unwrap();
        let_go.send(()).unwrap();
        assert_eq!(was_let_go.recv_timeout(PATIENCE), Ok(Ok(())));
        let _second = dialled.chat().unwrap();
        let second = connections.recv_timeout(PATIENCE).unwrap();

        let outbox = first.outbox();
        outbox.queue(&frame(1)).unwrap();
        outbox.write();
        assert_eq!(times(&mut reader), [1]);
        let_go.send(()).unwrap();
        assert_eq!(
            was_let_go.recv_timeout(PATIENCE),
            Ok(Ok(())),
            "it stood still"
        );

        const LAST: i64 = 20_002;
        let writer = std::thread::spawn(move || {
            let mut time = 2;
            while time <= LAST {
                let next = match time % 4 {
                    0 => time + 3,
                    _ => time + 1,
                };
                let sent = match next > time + 1 {
                    true => outbox.queue_singles(&(time..next).map(frame).collect()),
                    false => outbox.queue(&frame(time)),
                };
                sent.unwrap();
                match time % 3 {
                    0 => outbox.write(),
                    1 => drop(outbox.wake()),
                    _ => {} // with the next
                }
                time = next;
            }
            outbox.write();
        });
        for time in 2..=LAST {
            assert_eq!(times(&mut reader), [time]);
        }
        writer.join().unwrap();
        assert!(first.finish(Ending::Goodbye, PATIENCE));
        second.refuse(Ending::Goodbye);
        let stopping = listening.begin_stop();
        listening.end(stopping, PATIENCE);
    }

    #[test]
    fn where_nothing_waits_a_group_may_be_larger_than_the_outbox() {
        let (mut listening, connections, dialled) = served(4);
        let (_writer, mut reader) = dialled.chat().unwrap();
        let connection = connections.recv_timeout(PATIENCE).unwrap();
        let outbox = connection.outbox();
        for first in [1, 10, 100] {
            let group = (first..2 * first).map(frame).collect();
            outbox.queue_singles(&group).unwrap();
            outbox.write();
            for time in first..2 * first {
                assert_eq!(times(&mut reader), [time]);
            }
        }
        assert!(connection.finish(Ending::Goodbye, PATIENCE));
        let stopping = listening.begin_stop();
        listening.end(stopping, PATIENCE);
    }

    #[test]
    fn a_stream_that_ends_takes_no_call_of_its_lane_along() {
        let (mut listening, connections, dialled) = served(1_000_000);
        let (_writer, mut reader) = dialled.chat().unwrap();
        let stays = connections.recv_timeout(PATIENCE).unwrap();
        let outbox = stays.outbox();
        for time in 1..=400 {
            let ending = dialled.chat().unwrap();
            let ends = connections.recv_timeout(PATIENCE).unwrap();
            let of_the_end = ends.outbox();
            let end = move || ends.finish(Ending::Goodbye, PATIENCE);
            // It is over before the call, or at about the same time.
            let ended = match time % 2 {
                0 => end().then_some(None),
                _ => Some(Some(std::thread::spawn(end))),
            };
            let _ = of_the_end.queue(&frame(time));
            drop(of_the_end.wake());
            outbox.queue(&frame(time)).unwrap();
            drop(outbox.wake());
            assert_eq!(times(&mut reader), [time]);
            if let Some(thread) = ended.expect("its client has its end") {
                assert!(thread.join().unwrap());
            }
            drop(ending);
        }
        drop(stays);
        let stopping = listening.begin_stop();
        listening.end(stopping, PATIENCE);
    }
}
