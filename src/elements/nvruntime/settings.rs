//! What the user asks of the element. What is set here goes before what the site file says.

use crate::config::{self, OnFeedExit};
use crate::time::nanos;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) const DEFAULT_MAX_FEEDS: u32 = 64;
pub(super) const DEFAULT_DRAIN_TIMEOUT: u64 = 10_000_000_000;

/// What the end of a feed means to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvRuntimeOnFeedExit")]
pub enum FeedExit {
    /// Nothing.
    #[default]
    #[enum_value(name = "Isolate: the others go on", nick = "isolate")]
    Isolate,
    /// The end of all.
    #[enum_value(
        name = "Teardown: the first feed that ends or fails winds all of them down",
        nick = "teardown"
    )]
    Teardown,
}

impl From<OnFeedExit> for FeedExit {
    fn from(exit: OnFeedExit) -> Self {
        match exit {
            OnFeedExit::Isolate => Self::Isolate,
            OnFeedExit::Teardown => Self::Teardown,
        }
    }
}

/// `None` is what the site file says.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) config: Option<String>,
    pub(super) max_feeds: Option<u32>,
    pub(super) on_feed_exit: Option<FeedExit>,
    pub(super) drain_timeout: Option<u64>,
    pub(super) idle_timeout: Option<u64>,
    pub(super) metrics_address: Option<String>,
    /// What the site file says.
    pub(super) of_site: Option<config::Runtime>,
}

impl Settings {
    pub(super) fn max_feeds(&self) -> u32 {
        let of_site = self.of_site.as_ref().map(|site| site.max_feeds);
        self.max_feeds.or(of_site).unwrap_or(DEFAULT_MAX_FEEDS)
    }

    /// The same, as `site` has it.
    pub(super) fn max_feeds_of(&self, site: &config::Site) -> u32 {
        self.max_feeds.unwrap_or(site.runtime.max_feeds)
    }

    pub(super) fn on_feed_exit(&self) -> FeedExit {
        let of_site = self.of_site.as_ref().map(|site| site.on_feed_exit.into());
        self.on_feed_exit.or(of_site).unwrap_or_default()
    }

    pub(super) fn drain_nanos(&self) -> u64 {
        let of_site = self.of_site.as_ref().map(|site| nanos(site.drain_timeout));
        self.drain_timeout.or(of_site).unwrap_or(DEFAULT_DRAIN_TIMEOUT)
    }

    pub(super) fn drain_timeout(&self) -> Duration {
        Duration::from_nanos(self.drain_nanos())
    }

    pub(super) fn idle_nanos(&self) -> u64 {
        let of_site = self.of_site.as_ref().map(|site| nanos(site.idle_timeout));
        self.idle_timeout.or(of_site).unwrap_or_default()
    }

    /// As text, for the getter.
    pub(super) fn shown_metrics_address(&self) -> Option<String> {
        let of_site = || self.of_site.as_ref().and_then(|site| site.metrics_address);
        self.metrics_address.clone().or_else(|| of_site().map(|address| address.to_string()))
    }

    /// Where to listen as `site` has it, if anywhere.
    pub(super) fn metrics_address(&self, site: &config::Site) -> Result<Option<SocketAddr>, String> {
        let of_site = || site.runtime.metrics_address.map(|address| address.to_string());
        let text = self.metrics_address.clone().or_else(of_site).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        let expected = "expected an address and a port such as 127.0.0.1:9464";
        text.parse().map(Some).map_err(|_| format!("property metrics-address: {expected}, found {text:?}"))
    }
}
