//! Keeping one source alive: what to connect to, in which state it is, when to try again, and its time.
//!
//! Values only: `now` is an argument, random numbers are arguments, and what comes back is what to do and when to be
//! asked again. `nvfeed` is the shell around it.
//!
//! | file | decides |
//! |---|---|
//! | `address.rs` | what a URI says, and the credentials that are taken out of it |
//! | `routes.rs` | which address an attempt goes to, by the TLS policy, and which redirects are refused |
//! | `machine.rs` | the states of a source, and what happens in each |
//! | `backoff.rs` | how long to wait before the next attempt |
//! | `failure.rs` | the kinds of failure, and what is done about each |
//! | `decode.rs` | which decoders an attempt may use |
//! | `retime.rs` | the running time of every frame: continuous, whatever the source does |

mod address;
mod backoff;
mod decode;
mod failure;
mod machine;
mod retime;
mod routes;

pub use address::{Address, AddressError, Credentials, LONGEST_ADDRESS, Schemes, SchemesError, Security};
pub use backoff::{Backoff, Growth, SHORTEST};
pub use decode::{
    Choice, DEMOTED_AFTER, DEMOTED_FOR, DecodeFailure, DecodeRefused, Decoder, Decoders, Preference, classify,
};
pub use failure::{Failure, Kind, Remedy};
pub use machine::{
    Action, Begin, Counts, Happening, Limits, Machine, OnEnd, STABLE, Seen, State, StopReason,
};
pub use retime::{LARGEST_STEP_BACK, LIVE_TOLERANCE, LONGEST_HOLE, Pace, Placed, Retimer, Stamp};
pub use routes::{Refusal, Route, Routes, TLS_AGAIN, TLS_TRY, TlsPolicy};
