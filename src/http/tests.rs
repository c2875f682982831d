//! The server over real sockets, with a made-up site.

use super::{NoPreview, Server, Site};
use crate::metrics::made_up::{empty, everything};
use crate::metrics::{CONTENT_TYPE, Phase, Snapshot};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Enough for a machine that has a lot else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the site is, and how often it was asked.
#[derive(Default)]
struct MadeUp {
    snapshot: Mutex<Snapshot>,
    panics: AtomicBool,
    asked: AtomicU64,
    /// Says that a call has begun, and waits until its end is allowed.
    gate: Option<(Sender<()>, Mutex<Receiver<()>>)>,
}

impl Site for MadeUp {
    fn snapshot(&self) -> Snapshot {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some((begun, end)) = &self.gate {
            begun.send(()).unwrap();
            // The test may be over.
            let _ = end.lock().unwrap().recv();
        }
        assert!(!self.panics.load(Ordering::SeqCst), "asked for");
        self.snapshot.lock().unwrap().clone()
    }

    fn preview(&self, feed: u32) -> Result<Vec<u8>, NoPreview> {
        match feed {
            1 => Ok(vec![0xff, 0xd8, 0xff, 0xd9]),
            2 => Err(NoPreview::Disabled),
            3 => Err(NoPreview::NoFrame),
            4 => Err(NoPreview::Failed("rtsp://root:secret@camera/ is broken".to_owned())),
            5 => panic!("asked for"),
            _ => Err(NoPreview::UnknownFeed),
        }
    }
}

impl MadeUp {
    fn of(snapshot: Snapshot) -> Arc<Self> {
        Arc::new(Self { snapshot: Mutex::new(snapshot), ..Self::default() })
    }

    /// One whose calls last until something is sent; and what is received when one has begun.
    fn gated() -> (Arc<Self>, Receiver<()>, Sender<()>) {
        let (begun, has_begun) = channel();
        let (end, may_end) = channel();
        let gate = Some((begun, Mutex::new(may_end)));
        let snapshot = Mutex::new(everything());
        (Arc::new(Self { gate, snapshot, ..Self::default() }), has_begun, end)
    }
}

fn start(site: Arc<MadeUp>) -> Server {
    Server::start("127.0.0.1:0".parse().unwrap(), site).unwrap()
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        values.next()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the peer closes.
fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A connection that is reset is over, too.
    drop(stream.read_to_end(&mut bytes));
    bytes
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("the end of a head") + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body: bytes[end..].to_vec() }
}

fn send(address: SocketAddr, request: &str) -> Answer {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    parse(&rest(stream))
}

fn ask(server: &Server, method: &str, path: &str) -> Answer {
    send(
        server.address(),
        &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
    )
}

fn get(server: &Server, path: &str) -> Answer {
    ask(server, "GET", path)
}

#[test]
fn every_route_gives_what_it_is_there_for() {
    let server = start(MadeUp::of(everything()));
    let kinds = [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", CONTENT_TYPE),
        ("/status.json", "application/json"),
        ("/status.json?again=1", "application/json"),
        ("/health", "application/json"),
        ("/feeds/1/preview.jpg", "image/jpeg"),
    ];
    for (path, kind) in kinds {
        let answer = get(&server, path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{path}");
        assert_eq!(answer.header("content-length"), Some(answer.body.len().to_string().as_str()), "{path}");
    }
    assert!(
        get(&server, "/metrics")
            .text()
            .contains("\nnextvision_feed_up{feed=\"gate-north\",group=\"main\"} 1\n")
    );
    assert_eq!(get(&server, "/feeds/1/preview.jpg").body, [0xff, 0xd8, 0xff, 0xd9]);
    for path in [
        "/x",
        "/metrics/",
        "//",
        "/feeds/1",
        "/feeds/one/preview.jpg",
        "/feeds/-1/preview.jpg",
        "/../etc/passwd",
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
}

#[test]
fn the_state_is_the_snapshot_with_its_verdict() {
    let server = start(MadeUp::of(everything()));
    let json = get(&server, "/status.json").json();
    assert_eq!(json["health"]["healthy"], true);
    assert_eq!(json["health"]["warnings"].as_array().unwrap().len(), 9);
    let snapshot: Snapshot = serde_json::from_value(json).unwrap();
    assert_eq!(snapshot, everything());
}

#[test]
fn every_answer_says_that_it_is_not_to_be_kept_guessed_or_shared() {
    let server = start(MadeUp::of(everything()));
    for path in
        ["/", "/metrics", "/status.json", "/health", "/feeds/1/preview.jpg", "/feeds/9/preview.jpg", "/x"]
    {
        let answer = get(&server, path);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(!answer.head.to_lowercase().contains("access-control"), "{path}: {}", answer.head);
    }
}

#[test]
fn only_get_and_head_are_answered() {
    let server = start(MadeUp::of(everything()));
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let answer = ask(&server, method, "/status.json");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
    let get = get(&server, "/metrics");
    let head = ask(&server, "HEAD", "/metrics");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(head.header("content-type"), get.header("content-type"));
}

#[test]
fn a_body_is_not_waited_for() {
    let server = start(MadeUp::of(everything()));
    let head =
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000000\r\nConnection: close\r\n\r\n";
    assert_eq!(send(server.address(), head).status, 405);
    let head =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    assert_eq!(send(server.address(), head).status, 200);
}

#[test]
fn on_a_loopback_address_only_this_machine_may_be_named() {
    let server = start(MadeUp::of(everything()));
    let port = server.address().port();
    let of = |head: &str| send(server.address(), &format!("GET {head}Connection: close\r\n\r\n")).status;
    for host in ["localhost", "127.0.0.1", "127.1.2.3:1", "[::1]", &format!("LocalHost:{port}")] {
        assert_eq!(of(&format!("/health HTTP/1.1\r\nHost: {host}\r\n")), 200, "{host}");
    }
    for host in [
        "evil.example",
        "evil.example:9464",
        "localhost.evil.example",
        "10.0.0.1",
        "a@localhost",
        "",
        "\u{7f}",
    ] {
        let status = of(&format!("/health HTTP/1.1\r\nHost: {host}\r\n"));
        assert!(matches!(status, 400 | 403), "{host:?}: {status}");
    }
    assert_eq!(of("/health HTTP/1.1\r\n"), 403);
    assert_eq!(of("/health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"), 403);
    assert_eq!(of("http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n"), 403);
    assert_eq!(of("http://localhost/health HTTP/1.1\r\nHost: localhost\r\n"), 200);
}

#[test]
fn on_another_address_any_name_will_do() {
    let server = Server::start("0.0.0.0:0".parse().unwrap(), MadeUp::of(everything())).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], server.address().port()));
    let request = "GET /health HTTP/1.1\r\nHost: cameras.example\r\nConnection: close\r\n\r\n";
    assert_eq!(send(address, request).status, 200);
}

#[test]
fn health_is_503_with_reasons_while_the_site_is_not_well() {
    let site = MadeUp::of(Snapshot { phase: Phase::Draining, ..empty() });
    let server = start(Arc::clone(&site));
    let answer = get(&server, "/health");
    assert_eq!(answer.status, 503);
    let json = answer.json();
    assert_eq!(json["status"], "unhealthy");
    assert_eq!(json["reasons"].as_array().unwrap().len(), 1);
    assert_eq!(json["warnings"].as_array().unwrap().len(), 0);
    *site.snapshot.lock().unwrap() = empty();
    // The last snapshot is good for a moment.
    while get(&server, "/health").status != 200 {}
    assert_eq!(get(&server, "/health").json()["status"], "healthy");
}

#[test]
fn a_preview_that_there_is_not_says_why() {
    let server = start(MadeUp::of(everything()));
    let cases = [
        (2, 404, "previews are off\n"),
        (3, 404, "there is no frame yet\n"),
        (9, 404, "there is no such feed\n"),
    ];
    for (feed, status, text) in cases {
        let answer = get(&server, &format!("/feeds/{feed}/preview.jpg"));
        assert_eq!((answer.status, answer.text()), (status, text));
    }
    let failed = get(&server, "/feeds/4/preview.jpg");
    assert_eq!(failed.status, 500);
    assert!(failed.text().contains("is broken") && !failed.text().contains("secret"), "{}", failed.text());
}

#[test]
fn a_panic_of_the_site_is_500_and_the_server_lives() {
    let site = MadeUp::of(everything());
    let server = start(Arc::clone(&site));
    site.panics.store(true, Ordering::SeqCst);
    for path in ["/metrics", "/status.json", "/health", "/feeds/5/preview.jpg"] {
        assert_eq!(get(&server, path).status, 500, "{path}");
    }
    assert_eq!(get(&server, "/").status, 200);
    for _ in 0..5 {
        assert_eq!(get(&server, "/feeds/5/preview.jpg").status, 500);
    }
    assert_eq!(get(&server, "/feeds/1/preview.jpg").status, 200);
    site.panics.store(false, Ordering::SeqCst);
    while get(&server, "/metrics").status != 200 {}
    assert!(server.stop(PATIENCE));
}

#[test]
fn the_site_is_asked_ten_times_a_second_at_most_however_many_ask() {
    let site = MadeUp::of(empty());
    let server = start(Arc::clone(&site));
    let begun = tokio::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(get(&server, "/health").status, 200);
    }
    let most = begun.elapsed().as_millis() / 100 + 1;
    let asked = site.asked.load(Ordering::SeqCst);
    assert!(u128::from(asked) <= most, "{asked} of {most}");
}

#[test]
fn whoever_asks_meanwhile_waits_for_the_same_snapshot() {
    let (site, begun, end) = MadeUp::gated();
    let server = start(Arc::clone(&site));
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut streams: Vec<TcpStream> = (0..16).map(|_| connect(server.address())).collect();
    streams.iter_mut().for_each(|stream| stream.write_all(request).unwrap());
    begun.recv_timeout(PATIENCE).unwrap();
    // Some leave before they have an answer: what they asked for goes on, and is not asked for again.
    streams.truncate(8);
    drop(end);
    for stream in streams {
        assert_eq!(parse(&rest(stream)).status, 200);
    }
    assert!(site.asked.load(Ordering::SeqCst) <= 2);
}

#[test]
fn a_connection_takes_more_than_one_request() {
    let server = start(MadeUp::of(empty()));
    let mut stream = connect(server.address());
    let (one, last) = ("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "Connection: close\r\n\r\n");
    stream
        .write_all(format!("{one}{one}{}{last}", one.trim_end_matches("\r\n").to_owned() + "\r\n").as_bytes())
        .unwrap();
    let bytes = rest(stream);
    assert_eq!(String::from_utf8_lossy(&bytes).matches("HTTP/1.1 200 OK").count(), 3);
}

#[test]
fn a_peer_that_says_nothing_is_left_and_stops_nobody() {
    let server = start(MadeUp::of(empty()));
    let silent = connect(server.address());
    let mut slow = connect(server.address());
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: local").unwrap();
    assert_eq!(get(&server, "/health").status, 200);
    assert_eq!(rest(silent), b"");
    assert!(!rest(slow).starts_with(b"HTTP/1.1 200"));
    assert_eq!(get(&server, "/health").status, 200);
}

#[test]
fn more_connections_than_there_may_be_are_refused_and_others_go_on() {
    let server = start(MadeUp::of(empty()));
    let request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut answer = [0; 12];
    let held: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = connect(server.address());
            stream.write_all(request).unwrap();
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200");
            stream
        })
        .collect();
    let refused = rest(connect(server.address()));
    assert!(
        refused.is_empty() || refused.starts_with(b"HTTP/1.1 503 "),
        "{}",
        String::from_utf8_lossy(&refused)
    );
    (&held[7]).write_all(request).unwrap();
    drop(held);
    loop {
        let mut stream = connect(server.address());
        if stream.write_all(b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").is_ok()
            && rest(stream).starts_with(b"HTTP/1.0 200")
        {
            break;
        }
    }
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let server = start(MadeUp::of(empty()));
    let head = |size: usize| {
        let long = "x".repeat(size);
        let mut stream = connect(server.address());
        let request =
            format!("GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: {long}\r\n\r\n");
        // The peer may close while this is being written.
        drop(stream.write_all(request.as_bytes()));
        rest(stream)
    };
    assert!(head(12_000).starts_with(b"HTTP/1.1 200 "));
    for size in [17_000, 40_000, 4_000_000] {
        let answer = head(size);
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "),
            "{size}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(get(&server, "/health").status, 200);
}

#[test]
fn what_is_not_http_harms_nobody() {
    let server = start(MadeUp::of(empty()));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = connect(server.address());
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert!(!rest(stream).starts_with(b"HTTP/1.1 200"), "{bytes:?}");
    }
    assert_eq!(get(&server, "/health").status, 200);
}

#[test]
fn an_address_in_use_is_an_error_at_once() {
    let server = start(MadeUp::of(empty()));
    let error = Server::start(server.address(), MadeUp::of(empty())).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let address = server.address();
    drop(server);
    Server::start(address, MadeUp::of(empty())).unwrap();
}

#[test]
fn stop_ends_connections_that_wait_and_frees_the_site() {
    let site = MadeUp::of(empty());
    let server = start(Arc::clone(&site));
    let mut idle = connect(server.address());
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).unwrap();
    let silent = connect(server.address());
    assert!(server.stop(PATIENCE));
    assert_eq!(Arc::strong_count(&site), 1);
    rest(idle);
    rest(silent);
}

#[test]
fn stop_does_not_wait_for_a_site_that_hangs_and_says_so() {
    let (site, begun, end) = MadeUp::gated();
    let server = start(Arc::clone(&site));
    let mut stream = connect(server.address());
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    assert!(!server.stop(PATIENCE), "a call of the site goes on");
    rest(stream);
    drop(end);
    while Arc::strong_count(&site) > 1 {
        thread::yield_now();
    }
}

#[test]
fn what_was_asked_before_the_stop_is_answered() {
    let (site, begun, end) = MadeUp::gated();
    let server = start(site);
    let mut stream = connect(server.address());
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    begun.recv_timeout(PATIENCE).unwrap();
    drop(end);
    assert!(server.stop(PATIENCE));
    let bytes = rest(stream);
    // On a machine that is very busy the grace may be over first.
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&bytes));
}
