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
    Ending, HEALTH_CHECK, HEALTH_WATCH, Health, HealthQuery, REFLECT, REFLECT_V1ALPHA,
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
            .add_unary_handler(&HEALTH_CHECK, move |ctx, HealthQuery(service), sink| {
                shielded(|| {
                    let answer = match check(&service) {
                        Health::Unknown => {
                            sink.fail(Ending::NoService(service.clone()).to_status())
                        }
                        health => sink.success(health),
                    };
                    // An error means that the client has not waited.
                    ctx.spawn(guarded("health", async move { drop(answer.await) }));
                });
            })
            .add_server_streaming_handler(&HEALTH_WATCH, move |ctx, query, sink| {
                shielded(|| {
                    let connection = stream::open_reply(&ctx, sink, REPLY_OUTBOX);
                    watch(query.0, Streamed::new(connection));
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
    mut queries: RequestStream<ReflectQuery>,
    mut sink: DuplexSink<ReflectReply>,
    answer: impl Fn(ReflectQuery) -> ReflectReply,
    mut stopped: Stopped,
) -> grpcio::Result<()> {
    loop {
        match select(queries.next(), stopped).await {
            Either::Left((None, _)) => return sink.close().await,
            Either::Left((Some(query), not_yet)) => {
                stopped = not_yet;
                sink.send((answer(query?), WriteFlags::default())).await?;
            }
            Either::Right(_) => return sink.fail(Ending::Stopping.to_status()).await,
        }
    }
}
