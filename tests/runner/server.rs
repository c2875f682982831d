//! A very small HTTP server: fixed answers by path.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

/// A path, a status, a body.
type Answer = (&'static str, u16, String);

/// Serves on a port of its own until it is dropped. Without answers it only holds a port, and lets go of it.
pub(super) struct Server {
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: Vec<_> = answers.into_iter().collect();
        if answers.is_empty() {
            return Self { address, thread: None };
        }
        let serve = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // What the other side makes of it is what is tested.
                if answer(&stream, &answers).is_none_or(|path| path == "/end") {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("canned".to_owned()).spawn(serve).expect("a thread");
        Self { address, thread: Some(thread) }
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if let Ok(mut stream) = TcpStream::connect(self.address) {
            stream.write_all(b"GET /end HTTP/1.1\r\n\r\n").ok();
        }
        thread.join().ok();
    }
}

/// Answers one request and closes; the path that was asked for.
fn answer(mut stream: &TcpStream, answers: &[Answer]) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    // The whole request is read: a close with something unread would take the answer with it.
    lines.find(String::is_empty);
    let (status, body) = answers
        .iter()
        .find(|(known, ..)| *known == path)
        .map_or((404, ""), |(_, status, body)| (*status, body.as_str()));
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Canned\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
    Some(path)
}
