//! Signals: who stops the program, and who has it read its site again.
//!
//! The first SIGINT or SIGTERM is told to whoever runs the site. The second ends the process in the very handler, so
//! that it does whatever every thread of it hangs in; nothing is tidied up then.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// To end; the number of the signal.
    Stop(i32),
    /// To read the site again.
    Reload,
    /// To draw anew: the terminal has another size.
    Resized,
}

/// Name of a signal that stops the program.
pub(crate) const fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        SIGHUP => "SIGHUP",
        _ => "signal",
    }
}

/// Has the process end with 128 and the number of the signal (130, 143) at the second SIGINT or SIGTERM, and `tell`
/// called with the first, and with each SIGHUP. `tell` runs in a thread of its own and must not block.
///
/// Two of a kind that come before the first is handled may count as one: the system says no more than that there were
/// some.
///
/// # Errors
///
/// When the system does not give a handler or a thread.
pub(crate) fn stop_and_reload(tell: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first finds the flag down and raises it, the second finds it up.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    listen(&[SIGINT, SIGTERM, SIGHUP], move |number| {
        tell(if number == SIGHUP { Signal::Reload } else { Signal::Stop(number) });
    })
}

/// Has `tell` called when the program is to end, or the terminal has another size. `tell` runs in a thread of its own.
///
/// # Errors
///
/// When the system does not give a handler or a thread.
pub(crate) fn stop_and_resize(tell: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    listen(&[SIGINT, SIGTERM, SIGHUP, SIGWINCH], move |number| {
        tell(if number == SIGWINCH { Signal::Resized } else { Signal::Stop(number) });
    })
}

/// The thread lives as long as the process: signals are to be heard to its end.
fn listen(numbers: &[i32], mut hear: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new(numbers)?;
    let hear = move || signals.forever().for_each(&mut hear);
    thread::Builder::new().name("nv-signals".to_owned()).spawn(hear).map(drop)
}
