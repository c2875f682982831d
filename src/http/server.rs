//! [`Server`]: the thread, the listener, and their end.

use super::Site;
use super::answers::Answers;
use super::cache::{Asker, THREADS};
use super::peers;
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::net::{self, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections at a time; one more is told to come later.
const MOST_CONNECTIONS: usize = 64;

/// How long a stopped server still answers what it was asked before.
const GRACE: Duration = Duration::from_millis(500);

/// How long a dropped server waits for its end.
const DROP_TIME: Duration = Duration::from_secs(2);

/// Wait after the system could give no connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Retry-After: 1\r\nContent-Length: 22\r\nConnection: close\r\n\r\nToo many connections.\n";

/// Answers on one address until it is stopped or dropped.
///
/// Its thread is `nv-http`; calls of the site are on threads of the same name. It does not guarantee that a call of
/// the site that hangs ever ends: [`Server::stop`] then says `false`.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Whether all was over, once it is.
    ended: Receiver<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Binds `address` (port 0: any that is free) and answers from then on, of `site`.
    ///
    /// On a loopback address, only requests to a name of this machine are answered.
    ///
    /// # Errors
    ///
    /// The address cannot be had, or the system gives no thread.
    pub fn start(address: SocketAddr, site: Arc<dyn Site>) -> io::Result<Self> {
        let listener = net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(THREADS)
            .thread_name("nv-http")
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let answers = Arc::new(Answers::new(Asker::new(site), address.ip().to_canonical().is_loopback()));
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = sync_channel(1);
        let run = move || run(runtime, listener, answers, stopped, &end);
        let thread = thread::Builder::new().name("nv-http".to_owned()).spawn(run)?;
        Ok(Self { address, stop, ended, thread: Some(thread) })
    }

    /// The address it answers on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: no connection is taken any more, what was asked is answered within half a second. Says whether all
    /// was over `within` that time, calls of the site included; what was not goes on by itself and is let go of.
    pub fn stop(mut self, within: Duration) -> bool {
        self.end(within)
    }

    fn end(&mut self, within: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.stop.send_replace(true);
        let ended = self.ended.recv_timeout(within);
        // It has nothing left to do but to end.
        ended.is_ok_and(|all_over| thread.join().is_ok() && all_over)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(DROP_TIME);
    }
}

/// The thread `nv-http`.
fn run(
    runtime: Runtime,
    listener: TcpListener,
    answers: Arc<Answers>,
    stopped: watch::Receiver<bool>,
    end: &SyncSender<bool>,
) {
    runtime.block_on(listen(listener, Arc::clone(&answers), stopped));
    runtime.shutdown_timeout(GRACE);
    // Nobody may be waiting any more.
    let _ = end.try_send(answers.asker.is_idle());
}

/// Takes connections until `stopped`, then waits a little for those there are.
async fn listen(listener: TcpListener, answers: Arc<Answers>, stopped: watch::Receiver<bool>) {
    let mut stop = stopped.clone();
    let mut stop = pin!(stop.wait_for(|stop| *stop));
    let mut peers = JoinSet::new();
    // A sender that is gone is a stop, too.
    while let Some(accepted) = next(&listener, &mut peers, stop.as_mut()).await {
        match accepted {
            Ok(stream) if peers.len() < MOST_CONNECTIONS => {
                peers.spawn(peers::serve(stream, Arc::clone(&answers), stopped.clone(), GRACE));
            }
            Ok(stream) => refuse(stream),
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
    drop(listener);
    let all = async { while peers.join_next().await.is_some() {} };
    drop(timeout(GRACE + GRACE / 2, all).await);
}

/// The next connection; `None` when it is time to stop. Forgets meanwhile the connections that are over.
async fn next<S: Future>(
    listener: &TcpListener,
    peers: &mut JoinSet<()>,
    mut stop: Pin<&mut S>,
) -> Option<io::Result<TcpStream>> {
    poll_fn(|cx: &mut Context<'_>| {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        while let Poll::Ready(Some(_)) = peers.poll_join_next(cx) {}
        listener.poll_accept(cx).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    })
    .await
}

/// Tells a peer that there is no room. It may see only that the connection is closed.
fn refuse(stream: TcpStream) {
    let sent = stream.into_std().and_then(|mut stream| stream.write(BUSY));
    drop(sent);
}
