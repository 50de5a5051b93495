//! Serves the dashboard over HTTP/1. Only reads: GET and HEAD, and one form for the token. Every size, time and number
//! of connections has a limit, so that nobody who can reach it keeps others from it for long.

mod access;
mod reply;
mod routes;

pub use access::{Access, AccessError, Token, TokenError};
pub use routes::router;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{future::Future, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections at once; more wait until one ends.
const MAX_CONNECTIONS: usize = 64;
/// Most bytes of a request's head.
const MAX_HEAD: usize = 32 << 10;
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// A head that has not come by then does not come; also how long an idle connection is kept.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// So long a connection may live, however slowly its other end reads.
const CONNECTION_LIMIT: Duration = Duration::from_secs(300);
/// Requests under way are finished so long after the end was asked for.
const END_LIMIT: Duration = Duration::from_secs(5);
/// When the system has no more sockets, it is asked again after so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then finishes what is under way.
pub async fn serve(listener: TcpListener, app: Router, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_LIMIT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // how a connection ends is the business of its other end
            drop(timeout(CONNECTION_LIMIT, connection).await);
            drop(place);
        });
    }
    drop(listener);
    // what is not finished by then ends with the process
    drop(timeout(END_LIMIT, graceful.shutdown()).await);
}
