//! What a runtime says of itself over HTTP: a page, metrics, its state as JSON, whether it is well, and previews.
//!
//! [`Server`] asks a [`Site`] and never tells it anything: there is no action, and only GET and HEAD. It is made for a
//! loopback address or a network that is trusted: there is no encryption and no login. Every resource is bounded:
//! connections, times, sizes of requests, calls of the site.
//!
//! | path | gives |
//! |---|---|
//! | `/` | the page |
//! | `/metrics` | Prometheus text, form 0.0.4 |
//! | `/status.json` | the [`Snapshot`] as JSON, with the verdict as `health` |
//! | `/health` | 200 if all is well, else 503, with reasons |
//! | `/feeds/ID/preview.jpg` | the last frame of a feed, small; `ID` is its number |

mod answers;
mod cache;
mod page;
mod peers;
mod server;

#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod tests;

pub use server::Server;

use crate::metrics::Snapshot;

/// What a [`Server`] shows. Both are called on threads of their own, one snapshot and two previews at a time at most,
/// and may take two seconds. A panic in one is the answer 500.
///
/// Nothing of it may hold a credential: texts have passed [`health::redact`](crate::health::redact).
pub trait Site: Send + Sync + 'static {
    /// Everything that is known now. Called ten times a second at most, whoever asks.
    fn snapshot(&self) -> Snapshot;

    /// The last frame of a feed as JPEG. What it gives is shown for a second.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn preview(&self, feed: u32) -> Result<Vec<u8>, NoPreview>;
}

/// Why there is no preview of a feed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPreview {
    /// There is no such feed.
    #[error("there is no such feed")]
    UnknownFeed,
    /// The site makes no previews, or none of this feed.
    #[error("previews are off")]
    Disabled,
    /// No frame has come yet.
    #[error("there is no frame yet")]
    NoFrame,
    /// It could not be made; why.
    #[error("the preview could not be made: {0}")]
    Failed(String),
}
