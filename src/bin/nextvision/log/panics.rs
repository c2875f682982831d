//! Panics: in the log like everything else, and remembered, because a program in which one happened has failed.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

/// The panics so far, of all threads.
#[derive(Clone, Default)]
pub(crate) struct Panics(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    count: u64,
    first: String,
}

impl Panics {
    /// Sees every panic from now on. What the standard hook would print, on several lines and with whatever the message
    /// holds, is an event instead.
    pub(crate) fn watch() -> Self {
        let panics = Self::default();
        let seen_by = panics.clone();
        panic::set_hook(Box::new(move |info| seen_by.note(info)));
        panics
    }

    fn note(&self, info: &PanicHookInfo<'_>) {
        let thread = thread::current().name().unwrap_or("without a name").to_owned();
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = message_of(info);
        self.add(&format!("{message} (thread {thread}, {place})"));
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(target: "panic", thread, at = place, %backtrace, "{message}");
        } else {
            tracing::error!(target: "panic", thread, at = place, "{message}");
        }
    }

    fn add(&self, what: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.count += 1;
        if seen.count == 1 {
            what.clone_into(&mut seen.first);
        }
    }

    /// What to say of them; `None` if there were none.
    pub(crate) fn verdict(&self) -> Option<String> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.count {
            0 => None,
            1 => Some(format!("a panic: {}", seen.first)),
            count => Some(format!("{count} panics, the first: {}", seen.first)),
        }
    }
}

fn message_of(info: &PanicHookInfo<'_>) -> String {
    info.payload_as_str().unwrap_or("no message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_several_panics_is_told() {
        let panics = Panics::default();
        assert_eq!(panics.verdict(), None);
        panics.add("one");
        assert_eq!(panics.verdict().as_deref(), Some("a panic: one"));
        panics.add("two");
        assert_eq!(panics.verdict().as_deref(), Some("2 panics, the first: one"));
    }
}
