//! Calls that ask one thing. For their clients they are unary, or answer with a
//! stream; here each is a stream of which one message is read.
//!
//! That is the same on the wire, but gRPC hands a stream over when its headers
//! have come, and any other call only with its message. So calls that are taken
//! back before count like all others, and one whose message never comes keeps
//! none of the few places in which calls are accepted.

use std::time::Duration;

use futures_channel::oneshot;
use futures_util::future::{Either, Shared, select};
use futures_util::sink::SinkExt;
use futures_util::stream::StreamExt;
use grpcio::{DuplexSink, Method, RequestStream, WriteFlags};

use super::answers::Answers;
use super::caller::{Caller, password_of};
use super::listen::Listener;
use super::patience::Patience;
use super::stream::{self, Connection, guarded};
use crate::wire::{
    Asked, Ending, Frame, HISTORY, HistoryQuery, ROOMS, RoomList, RoomsQuery, Roster, WHO, WhoQuery,
};

/// Messages that may wait in the outbox of a call that only answers. Events of
/// history go through the past's own small queue, so none of them ever does;
/// a server's health changes twice in its life.
const REPLY_OUTBOX: usize = 4;

/// Resolves when the server begins to stop.
type Stopped = Shared<oneshot::Receiver<()>>;

/// A question, and who asks it.
pub struct Question<T> {
    /// What is asked.
    pub query: T,
    /// Who asks.
    pub caller: Caller,
    /// The password that the call brings; empty if it brings none.
    pub password: String,
}

/// How long questions are waited for.
#[derive(Clone)]
pub(super) struct Waiting {
    stopped: Stopped,
    patience: Patience,
}

impl Waiting {
    pub(super) fn new(stopped: Stopped, patience: Duration) -> Self {
        Self {
            stopped,
            patience: Patience::of(patience),
        }
    }

    /// The first message of a call.
    ///
    /// # Errors
    /// How the call ends instead.
    pub(super) async fn first<Q>(
        &self,
        queries: &mut RequestStream<Asked<Q>>,
    ) -> Result<Q, Ending> {
        match select(Box::pin(self.next(queries)), self.patience.over()).await {
            Either::Left((query, _)) => query,
            Either::Right(_) => Err(Ending::Unasked),
        }
    }

    /// Another message of a call, however long it takes.
    ///
    /// # Errors
    /// How the call ends instead; [`Ending::NoQuestion`] if its client has asked
    /// all that it asks.
    pub(super) async fn next<Q>(&self, queries: &mut RequestStream<Asked<Q>>) -> Result<Q, Ending> {
        match select(queries.next(), self.stopped.clone()).await {
            Either::Left((Some(Ok(query)), _)) => query,
            Either::Left((None, _)) => Err(Ending::NoQuestion),
            // The call is over, so nobody is told.
            Either::Left((Some(Err(_)), _)) => Err(Ending::Internal),
            Either::Right(_) => Err(Ending::Stopping),
        }
    }
}

impl Listener {
    /// Serves `History`.
    pub fn history(
        self,
        answer: impl Fn(Question<HistoryQuery>, Streamed) + Clone + Send + 'static,
    ) -> Self {
        self.streamed(&HISTORY, answer)
    }

    /// Serves `Who`.
    pub fn who(
        self,
        answer: impl Fn(Question<WhoQuery>, Reply<Roster>) + Clone + Send + 'static,
    ) -> Self {
        self.unary(&WHO, answer)
    }

    /// Serves `Rooms`.
    pub fn rooms(
        self,
        answer: impl Fn(Question<RoomsQuery>, Reply<RoomList>) + Clone + Send + 'static,
    ) -> Self {
        self.unary(&ROOMS, answer)
    }

    /// Serves a call that has one answer.
    pub(super) fn unary<Q: Send + 'static, A: Send + 'static>(
        self,
        method: &Method<Asked<Q>, A>,
        answer: impl Fn(Question<Q>, Reply<A>) + Clone + Send + 'static,
    ) -> Self {
        let (waiting, answers) = (self.waiting.clone(), self.answers.clone());
        self.begin(method, move |ctx, mut queries, sink| {
            let (waiting, answers, answer) = (waiting.clone(), answers.clone(), answer.clone());
            let (caller, password) = (Caller::of(ctx), password_of(ctx));
            ctx.spawn(guarded("question", async move {
                let (tell, told) = oneshot::channel();
                match waiting.first(&mut queries).await {
                    Err(ending) => Reply(tell).send(Err(ending), ()),
                    Ok(query) => {
                        let question = Question {
                            query,
                            caller,
                            password,
                        };
                        answer(question, Reply(tell));
                    }
                }
                // An error means that the client has not waited.
                let _ = reply(told, sink, &answers).await;
                // Not before: it would cancel the call.
                drop(queries);
            }));
        })
    }

    /// Serves a call whose answer is a stream, and keeps what `answer` returns
    /// until that has ended.
    pub(super) fn streamed<Q: Send + 'static, K: Send + 'static>(
        self,
        method: &Method<Asked<Q>, Frame>,
        answer: impl Fn(Question<Q>, Streamed) -> K + Clone + Send + 'static,
    ) -> Self {
        let waiting = self.waiting.clone();
        self.begin(method, move |ctx, mut queries, sink| {
            let (waiting, answer) = (waiting.clone(), answer.clone());
            let password = password_of(ctx);
            let (connection, pump) = stream::open_reply(ctx, sink, REPLY_OUTBOX);
            ctx.spawn(guarded("write", async move {
                let _kept = match waiting.first(&mut queries).await {
                    Err(ending) => {
                        connection.refuse(ending);
                        None
                    }
                    Ok(query) => {
                        let question = Question {
                            query,
                            caller: connection.caller.clone(),
                            password,
                        };
                        Some(answer(question, Streamed(connection)))
                    }
                };
                pump.await;
                drop(queries); // as above
            }));
        })
    }
}

/// A poll thread hands the answer over, so that no other thread waits for a
/// client that does not read.
async fn reply<A>(
    told: oneshot::Receiver<Told<A>>,
    mut sink: DuplexSink<A>,
    answers: &Answers,
) -> grpcio::Result<()> {
    let Ok((answer, _kept)) = told.await else {
        let ending = Ending::Limit("too many questions at once".to_owned());
        return sink.fail(ending.to_status()).await;
    };
    match answer {
        Ok(answer) => {
            let sent = sink.send((answer, WriteFlags::default()));
            match select(sent, answers.set_out()).await {
                Either::Left((sent, _)) => sent?,
                // Dropping the sink cancels the call.
                Either::Right(_) => return Ok(()),
            }
            sink.close().await
        }
        Err(ending) => sink.fail(ending.to_status()).await,
    }
}

/// What a call is answered, and what is kept for as long as the answer is.
type Told<T> = (Result<T, Ending>, Box<dyn Send>);

/// The answer to a unary call. Dropping it says that there are too many.
pub struct Reply<T>(oneshot::Sender<Told<T>>);

impl<T> Reply<T> {
    /// Answers. Waits for nothing; `kept` is dropped when the answer has gone
    /// out, or nobody is to get it any more.
    pub fn send(self, answer: Result<T, Ending>, kept: impl Send + 'static) {
        let _ = self.0.send((answer, Box::new(kept))); // the call may be over
    }
}

/// The answer to a call that streams.
pub struct Streamed(Connection);

impl Streamed {
    /// The stream that the answer goes out on; nothing comes in on it.
    pub fn into_connection(self) -> Connection {
        self.0
    }
}
