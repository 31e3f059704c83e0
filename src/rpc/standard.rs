//! gRPC's standard services as the listener serves them: health and
//! reflection. Their answers are at hand, so that poll threads give them.

use futures_util::sink::SinkExt;
use grpcio::{DuplexSink, RequestStream, WriteFlags};

use super::caller::Caller;
use super::listen::Listener;
use super::question::{Question, Streamed, Waiting};
use super::shares::Share;
use super::stream::guarded;
use crate::wire::{
    Asked, Ending, HEALTH_CHECK, HEALTH_WATCH, Health, HealthQuery, REFLECT, REFLECT_V1ALPHA,
    ReflectQuery, ReflectReply,
};

impl Listener {
    /// Serves the health service; each address may watch within its share. Both
    /// functions run on poll threads and must return at once; what `watch` gets,
    /// it may keep.
    pub fn health(
        self,
        check: impl Fn(&str) -> Health + Clone + Send + 'static,
        watch: impl Fn(String, Streamed) + Clone + Send + 'static,
    ) -> Self {
        let shares = self.shares.clone();
        self.unary(&HEALTH_CHECK, move |asked, reply| {
            let HealthQuery(service) = asked.query;
            let answer = match check(&service) {
                Health::Unknown => Err(Ending::NoService(service)),
                health => Ok(health),
            };
            reply.send(answer, ());
        })
        .streamed(
            &HEALTH_WATCH,
            move |asked: Question<HealthQuery>, streamed| {
                let share = shares.take(&asked.caller);
                match &share {
                    Ok(_) => watch(asked.query.0, streamed),
                    Err(ending) => streamed.into_connection().refuse(ending.clone()),
                }
                share
            },
        )
    }

    /// Serves reflection, under its name of today and its former one, to each
    /// address within its share. `answer` runs on poll threads and must return
    /// at once.
    pub fn reflection(
        mut self,
        answer: impl Fn(ReflectQuery) -> ReflectReply + Clone + Send + 'static,
    ) -> Self {
        for method in [&REFLECT, &REFLECT_V1ALPHA] {
            let (shares, waiting) = (self.shares.clone(), self.waiting.clone());
            let answer = answer.clone();
            self = self.begin(method, move |ctx, queries, sink| {
                let share = shares.take(&Caller::of(ctx));
                let (answer, waiting) = (answer.clone(), waiting.clone());
                ctx.spawn(guarded("reflection", async move {
                    // An error means that the client has gone.
                    let _ = reflect(queries, sink, answer, waiting, share).await;
                }));
            });
        }
        self
    }
}

async fn reflect(
    mut queries: RequestStream<Asked<ReflectQuery>>,
    mut sink: DuplexSink<ReflectReply>,
    answer: impl Fn(ReflectQuery) -> ReflectReply,
    waiting: Waiting,
    share: Result<Share, Ending>,
) -> grpcio::Result<()> {
    let mut next = match &share {
        Ok(_) => waiting.first(&mut queries).await,
        Err(ending) => Err(ending.clone()),
    };
    loop {
        match next {
            Ok(query) => sink.send((answer(query), WriteFlags::default())).await?,
            Err(Ending::NoQuestion) => return sink.close().await,
            Err(ending) => return sink.fail(ending.to_status()).await,
        }
        next = waiting.next(&mut queries).await;
    }
}
