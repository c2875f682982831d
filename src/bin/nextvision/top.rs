//! `nextvision top`: the state of a running one, again and again.
//!
//! A thread asks each second; the main thread draws what it says and leaves the terminal as it was found. Where
//! standard output is no terminal, the tables come one after another.

use crate::client::{Client, Health};
use crate::signals::{self, Signal};
use crate::view::{Size, size_of_terminal, view};
use crate::{Outcome, Whom, text};
use gstnextvision::metrics::Snapshot;
use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

/// From one answer to the next question.
const INTERVAL: Duration = Duration::from_secs(1);

/// The other screen, no cursor, no wrapping of lines.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
/// All of that undone.
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

type State = Result<(Box<Snapshot>, Result<Health, String>), String>;

enum News {
    Signal(Signal),
    State(State),
}

/// Shows the state until Ctrl-C, or until nobody reads it any more.
pub(crate) fn top(whom: &Whom) -> Outcome {
    let client = match Client::new(whom) {
        Ok(client) => client,
        Err(problems) => return Outcome::Wrong(problems),
    };
    // A wrong address is said at once; a runtime that goes away later may come back.
    let first = ask(&client);
    if let Err(error) = first {
        return Outcome::Wrong(vec![error]);
    }
    let (tell, news) = mpsc::channel();
    let (alive, end) = mpsc::channel::<()>();
    let to_signals = tell.clone();
    // Whoever draws is gone at the end, and nobody needs to hear then.
    let signals = signals::stop_and_resize(move |signal| drop(to_signals.send(News::Signal(signal))));
    let poll = move || poll(&client, &tell, &end);
    let poller = signals.and_then(|()| thread::Builder::new().name("nv-poll".to_owned()).spawn(poll));
    if let Err(error) = poller {
        return Outcome::Wrong(vec![format!("nextvision: no thread: {error}")]);
    }
    let shown = show(first, &news);
    drop(alive);
    match shown {
        // Nobody reads it any more.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Outcome::Wrong(vec![format!("nextvision: cannot write: {error}")])
        }
        _ => Outcome::Well,
    }
}

fn ask(client: &Client) -> State {
    let (_, snapshot) = client.snapshot()?;
    Ok((Box::new(snapshot), client.health()))
}

/// Asks until nobody listens.
fn poll(client: &Client, tell: &Sender<News>, end: &Receiver<()>) {
    while end.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        if tell.send(News::State(ask(client))).is_err() {
            return;
        }
    }
}

fn show(first: State, news: &Receiver<News>) -> io::Result<()> {
    let mut screen = Screen::enter()?;
    let mut state = first;
    screen.draw(&state)?;
    loop {
        match news.recv() {
            Ok(News::Signal(Signal::Resized)) if screen.is_terminal => (),
            Ok(News::Signal(Signal::Resized)) => continue,
            Ok(News::Signal(_)) | Err(_) => return Ok(()),
            Ok(News::State(new)) => state = new,
        }
        screen.draw(&state)?;
    }
}

/// Where it is drawn. Dropped, it is as it was.
struct Screen {
    out: Stdout,
    is_terminal: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        let out = io::stdout();
        let is_terminal = out.is_terminal();
        let mut screen = Self { out, is_terminal };
        if is_terminal {
            screen.write(ENTER)?;
        }
        Ok(screen)
    }

    fn draw(&mut self, state: &State) -> io::Result<()> {
        let size = size_of_terminal();
        let size = if self.is_terminal { size } else { Size { height: None, ..size } };
        let lines = match state {
            Ok((snapshot, health)) => view(snapshot, health, size),
            Err(error) => vec![text::cut(&text::clean(error), size.width).into_owned()],
        };
        let frame = if self.is_terminal { frame(&lines) } else { lines.join("\n") + "\n\n" };
        self.write(&frame)
    }

    /// In one go: nothing half drawn is seen.
    fn write(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            // A terminal that has gone away needs nothing.
            self.write(LEAVE).ok();
        }
    }
}

/// The lines from the upper left corner, over what was there.
fn frame(lines: &[String]) -> String {
    // No end behind the last line: it may be the lowest of the terminal.
    format!("\u{1b}[H{}\u{1b}[K\u{1b}[J", lines.join("\u{1b}[K\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_does_not_scroll_the_terminal() {
        let frame = frame(&["a".to_owned(), "b".to_owned()]);
        assert_eq!(frame, "\u{1b}[Ha\u{1b}[K\r\nb\u{1b}[K\u{1b}[J");
        assert_eq!(frame.matches('\n').count(), 1);
    }
}
