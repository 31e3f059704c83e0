//! gRPC's standard services as the listener serves them: health and
//! reflection. Their answers are at hand, so that poll threads give them.

use futures_channel::oneshot;
use futures_util::future::{Either, Shared, select};
use futures_util::sink::SinkExt;
use futures_util::stream::StreamExt;
use grpcio::{DuplexSink, RequestStream, WriteFlags};

use super::listen::{Listener, REPLY_OUTBOX, Streamed, shielded};
use super::stream::{self, guarded};
use crate::wire::{
    Asked, Ending, HEALTH_CHECK, HEALTH_WATCH, Health, HealthQuery, REFLECT, REFLECT_V1ALPHA,
    ReflectQuery, ReflectReply,
};

/// Resolves when the server begins to stop.
pub(super) type Stopped = Shared<oneshot::Receiver<()>>;

impl Listener {
    /// Serves the health service. Both functions run on poll threads and must
    /// return at once; what `watch` gets, it may keep.
    pub fn health(
        mut self,
        check: impl Fn(&str) -> Health + Clone + Send + 'static,
        watch: impl Fn(String, Streamed) + Clone + Send + 'static,
    ) -> Self {
        self.service = self
            .service
            .add_unary_handler(&HEALTH_CHECK, move |ctx, query, sink| {
                shielded(|| {
                    let health = query.and_then(|HealthQuery(service)| match check(&service) {
                        Health::Unknown => Err(Ending::NoService(service)),
                        health => Ok(health),
                    });
                    let answer = match health {
                        Ok(health) => sink.success(health),
                        Err(ending) => sink.fail(ending.to_status()),
                    };
                    // An error means that the client has not waited.
                    ctx.spawn(guarded("health", async move { drop(answer.await) }));
                });
            })
            .add_server_streaming_handler(&HEALTH_WATCH, move |ctx, query, sink| {
                shielded(|| {
                    let connection = stream::open_reply(&ctx, sink, REPLY_OUTBOX);
                    match query {
                        Ok(HealthQuery(service)) => watch(service, Streamed::new(connection)),
                        Err(ending) => connection.refuse(ending),
                    }
                });
            });
        self
    }

    /// Serves reflection, under its name of today and its former one. `answer`
    /// runs on poll threads and must return at once.
    pub fn reflection(
        mut self,
        answer: impl Fn(ReflectQuery) -> ReflectReply + Clone + Send + 'static,
    ) -> Self {
        for method in [&REFLECT, &REFLECT_V1ALPHA] {
            let (answer, stopped) = (answer.clone(), self.stopped.clone());
            self.service =
                self.service
                    .add_duplex_streaming_handler(method, move |ctx, queries, sink| {
                        shielded(|| {
                            let (answer, stopped) = (answer.clone(), stopped.clone());
                            let pump = async move {
                                // An error means that the client has gone.
                                let _ = reflect(queries, sink, answer, stopped).await;
                            };
                            ctx.spawn(guarded("reflection", pump));
                        });
                    });
        }
        self
    }
}

async fn reflect(
    mut queries: RequestStream<Asked<ReflectQuery>>,
    mut sink: DuplexSink<ReflectReply>,
    answer: impl Fn(ReflectQuery) -> ReflectReply,
    mut stopped: Stopped,
) -> grpcio::Result<()> {
    loop {
        match select(queries.next(), stopped).await {
            Either::Left((None, _)) => return sink.close().await,
            Either::Left((Some(query), not_yet)) => {
                stopped = not_yet;
                match query? {
                    Ok(query) => sink.send((answer(query), WriteFlags::default())).await?,
                    Err(ending) => return sink.fail(ending.to_status()).await,
                }
            }
            Either::Right(_) => return sink.fail(Ending::Stopping.to_status()).await,
        }
    }
}
