//! Keeping one source alive: what to connect to, in which state it is, when to try again, and its time.
//!
//! Values only: `now` is an argument, random numbers are arguments, and what comes back is what to do and when to be
//! asked again. `nvfeed` is the shell around it.
//!
//! | file | decides |
//! |---|---|
//! | `address.rs` | what a URI says, and the credentials that are taken out of it |
//! | `routes.rs` | which address an attempt goes to, by the TLS policy, and which redirects are refused |
//! | `decode.rs` | which decoders an attempt may use |
//! | `retime.rs` | the running time of every frame: continuous, whatever the source does |

mod address;
mod decode;
mod retime;
mod routes;

pub use address::{Address, AddressError, Credentials, LONGEST_ADDRESS, Schemes, SchemesError, Security};
pub use decode::{
    Choice, DEMOTED_AFTER, DEMOTED_FOR, DecodeFailure, DecodeRefused, Decoder, Decoders, Preference, classify,
};
pub use retime::{LARGEST_STEP_BACK, LIVE_TOLERANCE, LONGEST_HOLE, Pace, Placed, Retimer, Stamp};
pub use routes::{Refusal, Route, Routes, TLS_AGAIN, TLS_TRY, TlsPolicy};
