//! Accepts connections and speaks HTTP/1.1 on them.
//!
//! Owns the connections: few, with time limits, closed gently at the end. Knows no endpoint.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::AdminState;
use super::endpoints::answer;
use super::guard::Client;
use super::places::{Idleness, Places};
use crate::telemetry::Listener;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Whoever connects has something to say.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long open requests may take once the end has begun.
const FAREWELL: Duration = Duration::from_secs(2);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` resolves, then lets open requests end for two seconds.
pub async fn serve(
    listener: TcpListener,
    state: Arc<AdminState>,
    shutdown: impl Future<Output = ()>,
) {
    let mut places = Places::default();
    let (ending, ended) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) if places.make_room(peer.ip()) => {
                    let idleness = Arc::<Idleness>::default();
                    let connection =
                        connection((stream, peer.ip()), Arc::clone(&state), ended.clone(), Arc::clone(&idleness));
                    places.take(peer.ip(), connections.spawn(connection), idleness);
                }
                // Every place is taken by somebody who is being answered.
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "the admin listener could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    ending.send_replace(true);
    let farewell = async { while connections.join_next().await.is_some() {} };
    if timeout(FAREWELL, farewell).await.is_err() {
        tracing::info!("connections of the admin listener were cut off");
    }
}

async fn connection(
    (stream, client): (TcpStream, IpAddr),
    state: Arc<AdminState>,
    mut ended: watch::Receiver<bool>,
    idleness: Arc<Idleness>,
) {
    let _open = state
        .runtime
        .metrics()
        .metrics()
        .connection(Listener::Admin);
    let first = timeout(FIRST_BYTE_TIMEOUT, stream.peek(&mut [0])).await;
    if !matches!(first, Ok(Ok(1))) {
        return;
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Client(client));
        let (state, idleness) = (Arc::clone(&state), Arc::clone(&idleness));
        async move {
            let _busy = idleness.interrupt();
            Ok::<_, Infallible>(answer(&state, request).await)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    );
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = async { ended.wait_for(|ended| *ended).await.ok(); } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection of the admin listener broke off");
    }
}
