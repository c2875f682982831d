//! One connection, from its beginning to its end, and how long each part of it may take.

use super::answers::Answers;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// From the first byte of a request to the end of its head; also from the connection to that.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// Longest that a peer may take to fetch an answer.
const FETCH_TIME: Duration = Duration::from_secs(10);

/// Longest that a connection is kept without a request.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// Longest that an answer is awaited: more than it is given.
const ANSWER_TIME: Duration = Duration::from_secs(15);

/// How often the time is looked at. A connection is dropped that much too late at most.
const LOOK: Duration = Duration::from_millis(500);

/// Largest head of a request in bytes.
const MOST_HEAD: usize = 16 * 1024;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The head of a request.
    Head,
    /// Our answer.
    Answer,
    /// That the peer fetches it.
    Fetch,
    /// The next request.
    Idle,
}

/// What a connection does, and until when it may.
#[derive(Debug)]
struct Pace(Mutex<(Part, Instant)>);

impl Pace {
    fn new() -> Self {
        Self(Mutex::new((Part::Head, Instant::now() + HEAD_TIME)))
    }

    fn begin(&self, part: Part) {
        let time = match part {
            Part::Head => HEAD_TIME,
            Part::Answer => ANSWER_TIME,
            Part::Fetch => FETCH_TIME,
            Part::Idle => IDLE_TIME,
        };
        *self.0.lock() = (part, Instant::now() + time);
    }

    /// Begins `part` if it follows on what is done now.
    fn follow(&self, on: Part, part: Part) {
        let now = self.0.lock().0;
        if now == on {
            self.begin(part);
        }
    }

    /// Returns when the time of a part is over.
    async fn over(&self) {
        loop {
            let (_, deadline) = *self.0.lock();
            let now = Instant::now();
            if deadline <= now {
                return;
            }
            // The deadline may come nearer meanwhile.
            sleep_until(deadline.min(now + LOOK)).await;
        }
    }
}

/// A stream that tells its pace when a request begins and when an answer is fetched.
struct Paced {
    stream: TcpStream,
    pace: Arc<Pace>,
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.pace.follow(Part::Idle, Part::Head);
        }
        polled
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all it has, and an answer is one piece.
        self.pace.follow(Part::Fetch, Part::Idle);
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}

/// What came first.
enum First {
    Served,
    Stop,
}

/// Answers what comes on `stream`, until the peer leaves, is too slow, or `stop` changes; then what is being answered
/// is given `grace`.
pub(super) async fn serve(
    stream: TcpStream,
    answers: Arc<Answers>,
    mut stop: watch::Receiver<bool>,
    grace: Duration,
) {
    let pace = Arc::new(Pace::new());
    let service = service_fn(|request| {
        let (answers, pace) = (Arc::clone(&answers), Arc::clone(&pace));
        async move {
            pace.begin(Part::Answer);
            let answer = answers.answer(&request).await;
            pace.begin(Part::Fetch);
            Ok::<_, Infallible>(answer)
        }
    });
    let io = TokioIo::new(Paced { stream, pace: Arc::clone(&pace) });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.max_header_size(MOST_HEAD).max_buf_size(MOST_HEAD * 2).header_read_timeout(None);
    let mut connection = pin!(http.serve_connection(io, service));
    let first = {
        let mut over = pin!(pace.over());
        let mut stopped = pin!(stop.wait_for(|stop| *stop));
        poll_fn(|cx| {
            // How it ended is the peer's affair.
            if connection.as_mut().poll(cx).is_ready() || over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(First::Served);
            }
            stopped.as_mut().poll(cx).map(|_| First::Stop)
        })
        .await
    };
    if matches!(first, First::Stop) {
        connection.as_mut().graceful_shutdown();
        // Too late is as good as done: the connection is dropped either way.
        drop(timeout(grace, connection).await);
    }
}
