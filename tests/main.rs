//! The integration tests: one binary, a module per topic.

mod support;

// The layer rule and the size budgets.
mod architecture;
// What users get wrong, and the errors that tell them.
mod bad_input;
// Batches form, frames come back, feeds begin and end.
mod batching;
// nvfeed and cameras that answer: what it takes of them, and what it says of those it cannot have.
mod cameras;
// Programs of their own: the plugin as a file, without ONNX Runtime, interrupted.
mod command_line;
// What a feed does whatever happens to its source, and the page made of it.
mod feed_states;
// What one feed does reaches that feed and no other.
mod feeds;
// Flushes, releases, ends and new beginnings that cross each other.
mod crossings;
// The example applications, and the demo.
mod examples;
// The engine fails, hangs and lies, and the frames go on.
mod engine;
// A source that stays up: files that are well, and files that are not.
mod nvfeed;
// One feed watched: what nvhealth says and when, and that it says it once.
mod health;
// Elements of several pipelines that share one engine and its batches.
mod groups;
// Every result is that of its own frame.
mod identity;
// What the elements say of themselves, and the page made of it.
mod inspect;
// Models of every kind, failing ones, and plain video.
mod inference;
// What can be posted, and the page made of it.
mod messages;
// States, pads that come and go, and what must be left behind: nothing.
mod lifecycle;
// What one feed can do wrong, and that no other notices.
mod faults;
// A second model that is asked about what the first has found.
mod objects;
// What is drawn onto frames, and onto which.
mod nvoverlay;
// The sink that gives one record per frame.
mod nvsink;
// nvfeed and cameras that die, freeze and come back.
mod outages;
// Identities over time, on frames and behind the batcher.
mod nvtrack;
// A whole site as one element.
mod runtime;
// The pipelines that documentation and scripts show.
mod pipelines;
// What runs the model, and what takes its place.
mod providers;
// What comes out of whole pipelines is what the schema of records says.
mod records;
// The program: its commands, exit statuses and last words.
#[cfg(feature = "runner")]
mod runner;
// What is not in the plan: swapped consumers, flushes, lies.
mod robustness;
// The shipped detector on real clips.
mod real_video;
// A credential that the user configures is in nothing that comes out.
mod secrets;
// nvfeed and encryption: what goes where, and what never does.
mod tls;
// How long frames wait for their batch.
mod timing;
// The metas of newer GStreamer, and who reads them.
mod upstream;
