//! Which address an attempt to connect goes to, by the TLS policy, and which redirects are refused.
//!
//! | policy | `rtsp://` | `rtsp://` with credentials | other clear | encrypted, local |
//! |---|---|---|---|---|
//! | `prefer` | over TLS, then as it is | over TLS only | as it is; refused with credentials | as it is |
//! | `require` | refused | refused | refused | as it is |
//! | `allow-insecure` | as it is | as it is | as it is | as it is |
//!
//! ("`rtsp://`" is RTSP in clear in any spelling and transport.) Without credentials, `prefer` keeps for
//! [`TLS_AGAIN`] to the way in clear that worked after TLS had failed; then TLS is tried first again.
//!
//! Not guaranteed: that `prefer` resists somebody on the way who makes TLS fail. He sees the pictures then, but
//! never the credentials; against him there is `require`.

use super::address::{Address, AddressError, Schemes, Security};
use crate::time::Monotonic;
use std::time::Duration;
use thiserror::Error;

/// How long the way in clear is taken at once after it was needed.
pub const TLS_AGAIN: Duration = Duration::from_secs(10 * 60);

/// How long TLS may take to answer when there is another way.
pub const TLS_TRY: Duration = Duration::from_secs(3);

/// What is done with sources whose address is not encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsPolicy {
    /// TLS where there can be TLS; credentials never in clear.
    #[default]
    Prefer,
    /// TLS or nothing.
    Require,
    /// What the address says, credentials too.
    AllowInsecure,
}

/// Why a source is not connected to. The texts hold no credential and no secret of a query.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The scheme is not on the list.
    #[error(
        "expected a URI with one of the schemes {allowed}, found {scheme}://: allowed-schemes changes the list"
    )]
    Scheme {
        /// Scheme of the address.
        scheme: String,
        /// The list.
        allowed: String,
    },
    /// TLS is required, and the address has none.
    #[error(
        "expected an encrypted address such as rtsps:// or https:// because of tls-policy=require, found {address}: \
         tls-policy=prefer or tls-policy=allow-insecure would connect in clear"
    )]
    NotEncrypted {
        /// The address, shown.
        address: String,
    },
    /// Credentials would be sent in clear.
    #[error(
        "expected an encrypted address such as rtsps:// or https:// (and its scheme in allowed-schemes) for the \
         credentials, found {address}: tls-policy=allow-insecure would send them in clear"
    )]
    CredentialsInClear {
        /// The address, shown.
        address: String,
    },
    /// TLS failed, and credentials are not sent without.
    #[error(
        "expected {address} to answer over TLS, found that it failed; credentials are not sent in clear: \
         tls-policy=allow-insecure would send them"
    )]
    TlsFailed {
        /// The address over TLS, shown.
        address: String,
    },
    /// The source sent us to what is no address.
    #[error("the source redirects to what cannot be read: {0}")]
    RedirectUnreadable(AddressError),
    /// The source sent us to an address with credentials. URL parsers differ in where these end.
    #[error("expected a redirect without credentials, found them for {to}: give user-id and user-pw instead")]
    RedirectWithCredentials {
        /// Where to, shown.
        to: String,
    },
    /// The source sent us to a scheme that is not on the list.
    #[error(
        "expected a redirect to one of the schemes {allowed}, found {scheme}://: allowed-schemes changes the list"
    )]
    RedirectScheme {
        /// Scheme of the new address.
        scheme: String,
        /// The list.
        allowed: String,
    },
    /// A source on the network sent us to something of this machine. No property allows it.
    #[error("expected a redirect from {from} to another address on the network, found {to}, which is local")]
    RedirectToLocal {
        /// Where from, shown.
        from: String,
        /// Where to, shown.
        to: String,
    },
    /// The source sent us from encrypted to clear, or to clear where TLS is required.
    #[error(
        "expected a redirect from {from} to an encrypted address, found {to}: \
         tls-policy=allow-insecure would follow it"
    )]
    RedirectToClear {
        /// Where from, shown.
        from: String,
        /// Where to, shown.
        to: String,
    },
    /// The source sent us to somebody else, who would get the credentials.
    #[error(
        "expected a redirect to the host and port of {from}, which the credentials are for, found {to}: \
         set uri to that address if it shall have them"
    )]
    RedirectElsewhere {
        /// Where from, shown.
        from: String,
        /// Where to, shown.
        to: String,
    },
}

/// Where to connect to, and what that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The address.
    pub address: Address,
    /// Whether the credentials may be given to the source.
    pub sends_credentials: bool,
    /// Whether it is the way in clear, taken because TLS failed now or a short time ago.
    pub is_fallback: bool,
    /// Whether everybody on the way can read it.
    pub is_clear: bool,
}

/// The way that is being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// There is no other.
    Only,
    /// TLS; without credentials there is the way in clear after it.
    Tls,
    /// In clear, since TLS failed in this attempt.
    AfterTls,
    /// In clear, since that was needed a short time ago.
    Remembered,
}

/// How far the current route has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Trying,
    Answered,
    Connected,
}

/// Chooses the route of every attempt to connect to one source.
#[derive(Clone, Debug)]
pub struct Routes {
    address: Address,
    /// Set if TLS is to be tried before `address`.
    tls: Option<Address>,
    policy: TlsPolicy,
    has_credentials: bool,
    schemes: Schemes,
    way: Way,
    progress: Progress,
    /// When the way in clear last worked after TLS had failed.
    clear_worked: Option<Monotonic>,
}

impl Routes {
    /// The routes to `address`. `has_credentials`: a user or a password is given, in the URI or otherwise.
    ///
    /// # Errors
    ///
    /// If `schemes` does not allow it, or `policy` allows no way to it.
    pub fn new(
        address: Address,
        policy: TlsPolicy,
        has_credentials: bool,
        schemes: &Schemes,
    ) -> Result<Self, Refusal> {
        if !schemes.allows(address.scheme()) {
            return Err(Refusal::Scheme {
                scheme: address.scheme().to_owned(),
                allowed: schemes.to_string(),
            });
        }
        let is_clear = address.security() == Security::Clear;
        if is_clear && policy == TlsPolicy::Require {
            return Err(Refusal::NotEncrypted { address: address.to_string() });
        }
        let tls = address.with_tls().filter(|tls| schemes.allows(tls.scheme()));
        let tls = tls.filter(|_| policy == TlsPolicy::Prefer);
        if is_clear && policy == TlsPolicy::Prefer && has_credentials && tls.is_none() {
            return Err(Refusal::CredentialsInClear { address: address.to_string() });
        }
        let way = if tls.is_some() { Way::Tls } else { Way::Only };
        let schemes = schemes.clone();
        let progress = Progress::Trying;
        Ok(Self { address, tls, policy, has_credentials, schemes, way, progress, clear_worked: None })
    }

    /// Begins an attempt: the route to try first.
    pub fn next(&mut self, now: Monotonic) -> Route {
        let is_remembered = self.clear_worked.is_some_and(|at| now.since(at) < TLS_AGAIN);
        self.way = match self.tls {
            None => Way::Only,
            Some(_) if is_remembered => Way::Remembered,
            Some(_) => Way::Tls,
        };
        self.progress = Progress::Trying;
        self.route()
    }

    /// The source has said something over the current route that proves the way, such as its streams: it gets the
    /// time of other sources to its first frame, and TLS is not what failed if it fails now. Need not be called.
    pub fn answered(&mut self) {
        self.progress = self.progress.max(Progress::Answered);
    }

    /// The first frame came over the current route.
    pub fn connected(&mut self, now: Monotonic) {
        if self.progress == Progress::Connected {
            return;
        }
        self.progress = Progress::Connected;
        match self.way {
            Way::AfterTls => self.clear_worked = Some(now),
            Way::Tls => self.clear_worked = None,
            // Not longer remembered for having been taken without trying TLS.
            Way::Only | Way::Remembered => {}
        }
    }

    /// The attempt failed before its first frame. `Ok(Some)`: try this route at once, in the same attempt;
    /// `Ok(None)`: there is no other.
    ///
    /// # Errors
    ///
    /// If there would be another, but credentials are not sent in clear. The next attempt begins with TLS again.
    pub fn failed(&mut self, _now: Monotonic) -> Result<Option<Route>, Refusal> {
        let Some(tls) =
            self.tls.as_ref().filter(|_| self.way == Way::Tls && self.progress == Progress::Trying)
        else {
            return Ok(None);
        };
        if self.has_credentials {
            return Err(Refusal::TlsFailed { address: tls.to_string() });
        }
        self.way = Way::AfterTls;
        Ok(Some(self.route()))
    }

    /// How long the current route may take to its first frame, where sources have `liveness` for it.
    #[must_use]
    pub fn time_limit(&self, liveness: Duration) -> Duration {
        let has_other = self.way == Way::Tls && !self.has_credentials;
        if has_other && self.progress == Progress::Trying { liveness.min(TLS_TRY) } else { liveness }
    }

    /// Whether the current route may go on at `to`, an absolute URI that the source sent us to.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not allowed, and why.
    pub fn check_redirect(&self, to: &str) -> Result<(), Refusal> {
        let (target, credentials) = Address::parse(to).map_err(Refusal::RedirectUnreadable)?;
        let route = self.current();
        let (from, to) = (route.to_string(), target.to_string());
        if credentials.is_some() {
            return Err(Refusal::RedirectWithCredentials { to });
        }
        if !self.schemes.allows(target.scheme()) {
            let scheme = target.scheme().to_owned();
            return Err(Refusal::RedirectScheme { scheme, allowed: self.schemes.to_string() });
        }
        if target.security() == Security::Local && route.security() != Security::Local {
            return Err(Refusal::RedirectToLocal { from, to });
        }
        let must_be_encrypted = match self.policy {
            TlsPolicy::Require => true,
            TlsPolicy::Prefer => self.has_credentials || route.security() == Security::Encrypted,
            TlsPolicy::AllowInsecure => false,
        };
        if must_be_encrypted && target.security() == Security::Clear {
            return Err(Refusal::RedirectToClear { from, to });
        }
        let is_on_network = target.security() != Security::Local;
        if self.has_credentials && is_on_network && !target.is_same_endpoint(route) {
            return Err(Refusal::RedirectElsewhere { from, to });
        }
        Ok(())
    }

    /// Whether the current route may go on wherever a server of HTTP sends it, of a source that asks nobody.
    #[must_use]
    pub fn may_follow_unasked(&self) -> bool {
        ["http://example.invalid/", "https://example.invalid/"]
            .iter()
            .all(|to| self.check_redirect(to).is_ok())
    }

    /// Whether the current route is an RTSP session that everybody on the way can read.
    #[must_use]
    pub fn insecure(&self) -> bool {
        let address = self.current();
        address.is_rtsp() && address.security() == Security::Clear
    }

    fn current(&self) -> &Address {
        match (&self.tls, self.way) {
            (Some(tls), Way::Tls) => tls,
            _ => &self.address,
        }
    }

    fn route(&self) -> Route {
        let address = self.current().clone();
        let security = address.security();
        let is_clear = security == Security::Clear;
        let may_send = match self.policy {
            TlsPolicy::AllowInsecure => security != Security::Local,
            TlsPolicy::Prefer | TlsPolicy::Require => security == Security::Encrypted,
        };
        Route {
            address,
            sends_credentials: self.has_credentials && may_send,
            is_fallback: matches!(self.way, Way::AfterTls | Way::Remembered),
            is_clear,
        }
    }
}

#[cfg(test)]
mod tests;
