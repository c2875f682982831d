//! NextVision for GStreamer: many video feeds, one inference engine.
//!
//! # The map
//!
//! | folder | what it decides or does | what it may know |
//! |---|---|---|
//! | [`batch`] | which frames go together, and when | plain values |
//! | [`vision`] | geometry, fused pre-processing, decoding of model outputs | plain values |
//! | [`track`] | identity over time: which detection is the thing of an earlier frame | plain values |
//! | [`health`] | typed health events, watching a feed, folding bursts into messages | plain values |
//! | [`feed`] | keeping one source alive: addresses, states, delays, time | plain values |
//! | [`output`] | the output record and its JSON form | plain values |
//! | [`config`] | what a site file asks for, and what is wrong with it | plain values |
//! | [`metrics`] | the state of a whole runtime: as JSON, as Prometheus text, well or not | plain values |
//! | [`overlay`] | what is drawn onto a frame, and painting it | plain values |
//! | `infer` | loads ONNX Runtime, owns sessions, runs batches | `ort`, threads, the clock |
//! | `meta` | what travels on buffers: batches, frame facts, detections | GStreamer, `unsafe` |
//! | `http` | the page, `/metrics` and `/health` of a runtime | the network, `metrics` |
//! | `elements` | caps, pads, events, queries, locks: translation only | GStreamer and all of the above |
//!
//! Arrows point one way: `elements` uses everything else; a pure folder uses no other layer but plain
//! value types. Pure code reads no clock and never sleeps: its caller passes `now` and gets back what to
//! do and when to call again. `cargo check --no-default-features` builds the pure folders without
//! GStreamer and without ONNX Runtime, so the compiler enforces the rule; `tests/architecture.rs` guards
//! the rest of it.

pub mod batch;
pub mod config;
pub mod feed;
pub mod health;
pub mod metrics;
pub mod output;
pub mod overlay;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod track;
pub mod vision;

#[cfg(feature = "http")]
pub mod http;

#[cfg(feature = "onnx")]
pub mod clock;
#[cfg(feature = "onnx")]
pub mod infer;

#[cfg(feature = "plugin")]
pub mod elements;
#[cfg(feature = "plugin")]
pub mod meta;

#[cfg(feature = "plugin")]
mod plugin;
#[cfg(feature = "plugin")]
pub use plugin::plugin_register_static;
