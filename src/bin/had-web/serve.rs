//! Connections and their limits. A client that is slow, silent or greedy is ended; memory has a bound.
//!
//! A connection has buffers of at most 16 KiB each way, which makes 64 MiB for all of them at once; answers are shared
//! between clients. What does not fit waits in the queue of the kernel.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;

use crate::say;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 2048;
/// Of them, from one address: a single machine cannot keep the others out.
const MAX_FROM_ONE: usize = 1792;
/// Files beside them: the sockets of the daemon, the listener, the log.
const OTHER_FILES: u64 = 64;
/// Time to send the head of a request, also of the next one on a connection that is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Time to agree on keys.
const TLS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time in which a client must read something.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an error of accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// The longest head of a request, and the buffer of answers.
const MAX_BUFFER: usize = 16 * 1024;

/// Every connection is a file.
pub fn raise_file_limit() {
    let wanted = MAX_CONNECTIONS as u64 + OTHER_FILES;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).is_err() {
        say("warning: cannot raise the limit of open files; fewer clients can connect");
    }
}

/// Serves clients for ever.
pub async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) -> Infallible {
    let all = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let addresses = Arc::new(Mutex::new(HashMap::new()));
    loop {
        let any = Arc::clone(&all).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, from)) => {
                // One too many is closed at once.
                let Some(seat) = Seat::take(from.ip(), &addresses, any.ok()) else {
                    continue;
                };
                let (tls, router) = (tls.clone(), router.clone());
                tokio::spawn(async move {
                    connection(stream, tls, router).await;
                    drop(seat);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The connections of each address.
type Addresses = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The place of one connection among the limits.
struct Seat {
    from: IpAddr,
    addresses: Addresses,
    _any: Option<OwnedSemaphorePermit>,
}

impl Seat {
    fn take(
        from: IpAddr,
        addresses: &Addresses,
        any: Option<OwnedSemaphorePermit>,
    ) -> Option<Seat> {
        let mut counts = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_default();
        if *count >= MAX_FROM_ONE {
            return None;
        }
        *count += 1;
        Some(Seat {
            from,
            addresses: Arc::clone(addresses),
            _any: any,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = counts.entry(self.from) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let stream = Box::pin(stream);
    match tls {
        None => speak_http(stream, router).await,
        Some(tls) => {
            if let Ok(Ok(stream)) = timeout(TLS_TIMEOUT, tls.accept(stream)).await {
                speak_http(stream, router).await;
            }
        }
    }
}

/// Answers the requests of one connection. How it ends is the client's affair.
async fn speak_http(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    drop(served.await);
}
