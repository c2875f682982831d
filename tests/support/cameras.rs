//! Cameras for the tests: a real RTSP server in a process of its own, which can be killed, frozen and started again,
//! and places on the network where there is none.
//!
//! Only loopback is used. A server ends with its `Server`, and with this process however that ends.

use super::{PATIENCE, eventually, repository};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

/// The Python that has the bindings. Debian's packages serve Debian's own, which need not be the first in the path.
fn python() -> &'static str {
    static PYTHON: OnceLock<&str> = OnceLock::new();
    const BINDINGS: &str = "import gi; gi.require_version('GstRtspServer', '1.0')";
    let imports = |python: &&str| {
        let status = Command::new(python).args(["-c", BINDINGS]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    PYTHON.get_or_init(|| {
        ["/usr/bin/python3", "python3"].into_iter().find(imports).expect(
            "a Python with python3-gi and gir1.2-gst-rtsp-server-1.0; ./dev test installs them on Debian",
        )
    })
}

/// A running `rtsp_server.py`.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    arguments: Vec<String>,
}

impl Server {
    /// Starts one with these arguments on a free port, and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on(0, arguments.iter().map(ToString::to_string).collect())
    }

    fn start_on(port: u16, arguments: Vec<String>) -> Self {
        let child = Command::new(python())
            .arg(repository("tests/support/rtsp_server.py"))
            .args(["--port", &port.to_string()])
            .args(&arguments)
            // What is asked of our own process is not asked of the server's libraries.
            .env_remove("G_DEBUG")
            .env_remove("GST_DEBUG")
            .env_remove("GST_TRACERS")
            // Never written to: when it closes, the server ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the RTSP server starts");
        // Made before the wait, so that a server that never listens is killed when the wait panics.
        let mut server = Self { child, port, arguments };
        server.port = server.wait_until_it_listens();
        server
    }

    fn wait_until_it_listens(&mut self) -> u16 {
        let stdout = self.child.stdout.take().expect("piped");
        let (sender, receiver) = mpsc::channel();
        let read = move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody waits any more when the server was too slow, which has failed the test already.
            let _ = sender.send(read.map(|_| line));
        };
        std::thread::Builder::new().name("rtsp-server-out".into()).spawn(read).expect("a thread");
        let line = receiver.recv_timeout(PATIENCE.into()).expect("the RTSP server says where it listens");
        let line = line.expect("the RTSP server's output can be read");
        let port = line.trim().strip_prefix("PORT ").and_then(|port| port.parse().ok());
        port.unwrap_or_else(|| panic!("the RTSP server said '{line}'; its complaint is above"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The address of one of its cameras, `rtsps` if it speaks TLS.
    pub(crate) fn url(&self, mount: &str) -> String {
        let tls = self.arguments.iter().any(|argument| argument == "--tls");
        let scheme = if tls { "rtsps" } else { "rtsp" };
        format!("{scheme}://127.0.0.1:{}{mount}", self.port)
    }

    /// Ends it at once, as a power failure would, but that its connections are closed: the kernel does that.
    pub(crate) fn kill(&mut self) {
        // Both fail only for a child that is gone, as is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it and starts another, with the same arguments and on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        // The old one is dropped, and killed in vain.
        *self = Self::start_on(self.port, std::mem::take(&mut self.arguments));
    }

    /// Stops it where it is: its connections stay open and are silent. Returns when it has stopped.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
        let stat = format!("/proc/{}/stat", self.child.id());
        // The state is the first word behind the name, which stands in parentheses.
        let state = || {
            let text = std::fs::read_to_string(&stat).expect("a running server");
            text.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next())
        };
        eventually("the RTSP server stops", state, |state| *state == Some('T'));
    }

    /// Undoes [`Self::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "kill {signal}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Reaches a frozen one, too.
        self.kill();
    }
}

/// A certificate that nobody has signed but itself, for 127.0.0.1 and localhost.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// PEM, absolute.
    pub(crate) certificate: PathBuf,
    /// PEM, absolute.
    pub(crate) key: PathBuf,
}

impl Certificate {
    /// Makes a new one in `folder`, which must be absolute: GLib takes no other path to a database.
    pub(crate) fn self_signed(folder: &Path) -> Self {
        assert!(folder.is_absolute(), "{}", folder.display());
        let this = Self { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
            .arg("-keyout")
            .arg(&this.key)
            .arg("-out")
            .arg(&this.certificate)
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        this
    }

    /// `--tls` with its files, for [`Server::start`].
    pub(crate) fn arguments(&self) -> [&str; 3] {
        ["--tls", utf8(&self.certificate), utf8(&self.key)]
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// Takes connections, and never answers.
#[derive(Debug)]
pub(crate) struct BlackHole {
    listener: TcpListener,
}

/// A [`BlackHole`] on a free port. The kernel completes connections to it; nobody reads from them.
pub(crate) fn black_hole() -> BlackHole {
    BlackHole { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port") }
}

impl BlackHole {
    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    /// All that came over connections that are closed by now or become so within moments, each in one piece.
    /// Closes the others.
    pub(crate) fn heard(&self) -> Vec<Vec<u8>> {
        self.listener.set_nonblocking(true).expect("a socket");
        let connections = std::iter::from_fn(|| self.listener.accept().ok());
        let hear = |(mut connection, _): (TcpStream, _)| {
            connection.set_nonblocking(false).expect("a socket");
            connection.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
            let mut bytes = Vec::new();
            // Ends with an error after silence, with what came before it in the buffer.
            let _ = connection.read_to_end(&mut bytes);
            bytes
        };
        connections.map(hear).collect()
    }
}

/// A port on which nobody listens, and nobody will while it lives.
#[derive(Debug)]
pub(crate) struct DeadPort {
    /// Its own end holds the port: the kernel gives it to nobody else.
    stream: TcpStream,
    _other_end: TcpListener,
}

/// A [`DeadPort`] on loopback.
pub(crate) fn dead_port() -> DeadPort {
    let other_end = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let stream = TcpStream::connect(other_end.local_addr().expect("bound")).expect("it listens");
    DeadPort { stream, _other_end: other_end }
}

impl DeadPort {
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("connected").port()
    }
}
