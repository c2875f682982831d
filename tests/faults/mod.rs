//! The fault suite: what one feed, one consumer or the surroundings can do wrong, and that nobody else notices.
//!
//! `README.md` beside this file says which test stands for which fault, and `BEHAVIOURS.md` which for which
//! behaviour of the NextVision runtime; [`table`] compares both with the tests there are. `./dev faults` runs it.

mod camera;
mod consumer;
mod oracle;
mod process;
mod watch;

mod caps;
mod downstream;
mod lifecycle;
mod load;
mod sources;
mod table;
mod timestamps;
