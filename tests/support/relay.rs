//! A wire between a client and a server on loopback that keeps what the client says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

#[derive(Debug, Default)]
struct Shared {
    heard: Mutex<Vec<u8>>,
    open: AtomicUsize,
    connections: AtomicUsize,
    is_over: AtomicBool,
}

/// Takes connections and passes them on to a port, both ways.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// On a free port, to `target` on loopback.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared::default());
        let accepting = spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming().flatten() {
                    if shared.is_over.load(Ordering::Acquire) {
                        return;
                    }
                    connect(&shared, client, target);
                }
            }
        });
        Self { port, shared, accepting: Some(accepting) }
    }

    /// The address of a camera behind it.
    pub(crate) fn url(&self, mount: &str) -> String {
        format!("rtsp://127.0.0.1:{}{mount}", self.port)
    }

    /// All that clients have said, of all connections, as text.
    pub(crate) fn heard(&self) -> String {
        String::from_utf8_lossy(&self.shared.heard.lock().expect("no thread panics with it")).into_owned()
    }

    /// RTSP requests that clients have sent.
    pub(crate) fn requests(&self) -> usize {
        self.heard().matches("\r\nCSeq:").count()
    }

    /// Connections that clients hold.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Connections that clients have ever made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Wakes the thread; what it is told must be seen first.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.accepting.take().map(JoinHandle::join);
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name("relay".into()).spawn(run).expect("a thread")
}

/// Passes on in two threads, which end with the connection.
fn connect(shared: &Arc<Shared>, client: TcpStream, target: u16) {
    shared.connections.fetch_add(1, Ordering::AcqRel);
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { return };
    shared.open.fetch_add(1, Ordering::AcqRel);
    let ends = [&client, &server].map(|end| end.try_clone().expect("a descriptor"));
    let [client_again, server_again] = ends;
    spawn(move || pump(server_again, client_again, |_| {}));
    let shared = Arc::clone(shared);
    spawn(move || {
        pump(client, server, |bytes| {
            shared.heard.lock().expect("no thread panics with it").extend_from_slice(bytes);
        });
        shared.open.fetch_sub(1, Ordering::AcqRel);
    });
}

/// Until either end is closed; then closes both.
fn pump(mut from: TcpStream, mut to: TcpStream, mut note: impl FnMut(&[u8])) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 {
            break;
        }
        note(&bytes[..count]);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        // It may be closed already.
        let _ = end.shutdown(Shutdown::Both);
    }
}
