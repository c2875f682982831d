//! The elements a source is made of, and how they are set up.

use super::hush::{self, Hush};
use super::inlet::Inlet;
use super::settings::{Settings, Transport};
use super::verdict::{self, Hints};
use crate::clock;
use crate::elements::lock;
use crate::feed::{Choice, Credentials, Decoder, Decoders, Failure, Kind, Route, Routes, classify};
use glib::prelude::*;
use gst::prelude::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Requests until a server names its streams: OPTIONS and DESCRIBE, each again with credentials, and once more for a
/// nonce that is stale.
const MAX_REQUESTS: u32 = 5;

/// What a source is made for.
#[derive(Clone)]
pub(super) enum Target {
    /// An address, and what is allowed when it sends us elsewhere.
    Address(Route, Box<Routes>),
    /// What the user describes.
    Custom,
}

/// What the handlers of one source share.
pub(super) struct Context {
    pub(super) inlet: Arc<Inlet>,
    pub(super) settings: Settings,
    pub(super) target: Target,
    pub(super) choice: Choice,
    pub(super) hints: Mutex<Hints>,
}

type Made<T> = Result<T, Failure>;

fn make(factory: &str) -> Made<gst::Element> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| Failure::new(Kind::Unsupported, format!("there is no element {factory} here")))
}

/// Raw video in any memory: decodebin asks whether all that a decoder may give is among these.
fn raw_video() -> gst::Caps {
    gst::Caps::builder("video/x-raw").any_features().build()
}

/// Puts the elements into `pipeline` and links the last to `end`.
pub(super) fn build(context: &Arc<Context>, pipeline: &gst::Pipeline, end: &gst::Pad) -> Made<()> {
    let failed = |what: &str| Failure::new(Kind::Other, format!("{what} cannot be put together"));
    let convert = make("videoconvert")?;
    pipeline.add(&convert).map_err(|_| failed("the converter"))?;
    let src = convert.static_pad("src").ok_or_else(|| failed("the converter"))?;
    src.link(end).map_err(|_| failed("the end of the source"))?;
    let sink = convert.static_pad("sink").ok_or_else(|| failed("the converter"))?;
    let front = match &context.target {
        Target::Address(route, _) => {
            let front = make("uridecodebin")?;
            front.set_property("uri", route.address.as_str());
            connect_source(context, &front);
            pipeline.add(&front).map_err(|_| failed("the source"))?;
            front
        }
        Target::Custom => {
            let text = context.settings.custom_pipeline.as_ref().map_or("", |text| text.0.as_str());
            let custom = parse_custom(text).map_err(|detail| Failure::new(Kind::Unsupported, detail))?;
            let front = make("decodebin")?;
            pipeline.add_many([custom.upcast_ref(), &front]).map_err(|_| failed("custom-pipeline"))?;
            custom.link(&front).map_err(|_| failed("custom-pipeline"))?;
            front
        }
    };
    front.set_property("caps", raw_video());
    front.set_property("expose-all-streams", false);
    connect_pads(context, &front, &sink);
    connect_decoders(context, &front, pipeline);
    Ok(())
}

/// What the user describes: elements with one src pad that is not linked.
///
/// # Errors
/// What was expected and found, for people.
pub(super) fn parse_custom(text: &str) -> Result<gst::Bin, String> {
    let parsed = {
        let _hush = Hush::new();
        gst::parse::bin_from_description(text, false)
    };
    let bin =
        parsed.map_err(|error| format!("custom-pipeline: {}", crate::health::redact(error.message())))?;
    let pads: Vec<_> = bin
        .iterate_elements()
        .into_iter()
        .flatten()
        .flat_map(|element| element.src_pads())
        .filter(|pad| !pad.is_linked())
        .collect();
    let [pad] = pads.as_slice() else {
        return Err(format!(
            "custom-pipeline: expected one src pad that is not linked, found {}",
            pads.len()
        ));
    };
    let ghost = gst::GhostPad::with_target(pad).map_err(|error| format!("custom-pipeline: {error}"))?;
    bin.add_pad(&ghost).map_err(|error| format!("custom-pipeline: {error}"))?;
    Ok(bin)
}

/// Whether elements give what happens now.
pub(super) fn is_live(bin: &gst::Bin) -> bool {
    use gst_base::prelude::*;
    let is_live = |element: gst::Element| {
        let by_name = element.factory().is_some_and(|factory| factory.name() == "rtspsrc");
        by_name || element.downcast::<gst_base::BaseSrc>().is_ok_and(|source| source.is_live())
    };
    bin.iterate_recurse().into_iter().flatten().any(is_live)
}

// --- Streams ---------------------------------------------------------------------------------------------------

/// Takes the first video there is, and leaves everything else alone.
fn connect_pads(context: &Arc<Context>, front: &gst::Element, sink: &gst::Pad) {
    front.connect_pad_added({
        let (sink, context) = (sink.clone(), Arc::clone(context));
        move |_, pad| {
            let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
            let is_video = caps.structure(0).is_some_and(|structure| structure.name() == "video/x-raw");
            if is_video && !sink.is_linked() {
                lock(&context.hints).has_video = true;
                if let Err(error) = pad.link(&sink) {
                    let detail = format!("the video cannot be linked: {error}");
                    context.inlet.fail(Failure::new(Kind::Unsupported, detail));
                }
            }
        }
    });
    front.connect_no_more_pads({
        let (sink, context) = (sink.clone(), Arc::clone(context));
        move |_| {
            if !sink.is_linked() {
                context.inlet.fail(lock(&context.hints).no_video());
            }
        }
    });
    front.connect("unknown-type", false, {
        let context = Arc::clone(context);
        move |values| {
            let caps = values.get(2)?.get::<gst::Caps>().ok()?;
            let name = caps.structure(0)?.name().to_string();
            if name.starts_with("video/") || name.starts_with("image/") {
                lock(&context.hints).unknown = Some(name);
            }
            None
        }
    });
    front.connect("autoplug-continue", false, {
        let context = Arc::clone(context);
        move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            if let Some(caps) = &caps {
                context.note_stream(caps);
            }
            let excess = caps.and_then(|caps| context.inlet.bounds.excess(&caps));
            if let Some(excess) = &excess {
                context.inlet.fail(Failure::new(Kind::TooLarge, excess.clone()));
            }
            Some(excess.is_none().to_value())
        }
    });
}

impl Context {
    /// Remembers what kinds of streams there are, in case none is a video.
    fn note_stream(&self, caps: &gst::Caps) {
        let Some(name) = caps.structure(0).map(|structure| structure.name().to_string()) else { return };
        lock(&self.hints).has_data = true;
        if name.starts_with("video/") || name.starts_with("image/") {
            let demuxers = factories(gst::ElementFactoryType::DEMUXER);
            let is_container = demuxers.iter().any(|factory| factory.can_sink_any_caps(caps));
            lock(&self.hints).has_video |= !is_container;
        } else if ["audio/", "text/", "subpicture/"].iter().any(|kind| name.starts_with(kind)) {
            lock(&self.hints).others.insert(name);
        }
    }

    /// The same failure, or what is found to be behind it.
    pub(super) fn look_closer(&self, failure: Failure) -> Failure {
        match &self.target {
            Target::Address(..) if failure.kind == Kind::Unreachable && self.inlet.has_passed() => {
                Failure::new(Kind::Ended, failure.detail)
            }
            Target::Address(route, _) => verdict::look_closer(failure, &route.address),
            Target::Custom => failure,
        }
    }
}

// --- Decoders --------------------------------------------------------------------------------------------------

/// The factories of that kind that GStreamer plugs by itself.
fn factories(kind: gst::ElementFactoryType) -> glib::List<gst::ElementFactory> {
    gst::ElementFactory::factories_with_type(kind, gst::Rank::MARGINAL)
}

/// What a factory decodes with, if it decodes pictures.
pub(super) fn decoder_of(factory: &gst::ElementFactory) -> Option<Decoder> {
    let klass = factory.metadata(gst::ELEMENT_METADATA_KLASS).unwrap_or_default();
    classify(&factory.name(), klass)
}

/// The decoders there are here for streams of those caps.
fn decoders_for(caps: &gst::Caps) -> Decoders {
    let decoders = factories(gst::ElementFactoryType::DECODER);
    decoders.iter().filter(|factory| factory.can_sink_any_caps(caps)).filter_map(decoder_of).collect()
}

/// Whether hardware decodes anything here.
pub(super) fn has_hardware() -> bool {
    let decoders = factories(gst::ElementFactoryType::DECODER);
    decoders.iter().any(|factory| decoder_of(factory) == Some(Decoder::Hardware))
}

/// Whether its elements connect to what their data says, as those of HLS, DASH and SDP do: data of a server could
/// name files of this machine.
fn opens_addresses(factory: &gst::ElementFactory) -> bool {
    let klass = factory.metadata(gst::ELEMENT_METADATA_KLASS).unwrap_or_default();
    let is = |word| klass.split('/').any(|part| part == word);
    is("Demuxer") && (is("Adaptive") || is("Network"))
}

/// What `autoplug-select` is answered with.
fn selection(nick: &str) -> Option<glib::Value> {
    let class = glib::EnumClass::with_type(glib::Type::from_name("GstAutoplugSelectResult")?)?;
    class.to_value_by_nick(nick)
}

fn connect_decoders(context: &Arc<Context>, front: &gst::Element, pipeline: &gst::Pipeline) {
    front.connect("autoplug-select", false, {
        let context = Arc::clone(context);
        move |values| {
            let caps = values.get(2)?.get::<gst::Caps>().ok()?;
            let factory = values.get(3)?.get::<gst::ElementFactory>().ok()?;
            if matches!(context.target, Target::Address(..)) && opens_addresses(&factory) {
                let caps = caps.structure(0)?.name();
                let detail = format!(
                    "{caps} names addresses of its own, which allowed-schemes and tls-policy cannot be applied to"
                );
                context.inlet.fail(Failure::new(Kind::Unsupported, detail));
                return selection("skip");
            }
            let may_use = decoder_of(&factory)
                .is_none_or(|decoder| context.choice.may_use(clock::now(), decoder, decoders_for(&caps)));
            selection(if may_use { "try" } else { "skip" })
        }
    });
    let context = Arc::clone(context);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        if decoder_of(&factory).is_none() {
            return;
        }
        context.inlet.decoder(factory.name().to_string());
        if let Some(pad) = element.static_pad("src") {
            refuse_large(&context, &pad);
        }
    });
}

/// Refuses the caps of pictures that are too large where they are first known, before a frame is allocated for them:
/// a probe that blocks on a pad that is not active makes the event fail, which ends the negotiation.
fn refuse_large(context: &Arc<Context>, pad: &gst::Pad) {
    let context = Arc::clone(context);
    pad.add_probe(gst::PadProbeType::BLOCK | gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        let excess = info.event().and_then(|event| match event.view() {
            gst::EventView::Caps(caps) => context.inlet.bounds.excess(caps.caps()),
            _ => None,
        });
        let Some(excess) = excess else { return gst::PadProbeReturn::Pass };
        context.inlet.fail(Failure::new(Kind::TooLarge, excess));
        pad.set_active(false).ok();
        gst::PadProbeReturn::Ok
    });
}

// --- Sources ---------------------------------------------------------------------------------------------------

fn connect_source(context: &Arc<Context>, front: &gst::Element) {
    let context = Arc::clone(context);
    front.connect("source-setup", false, move |values| {
        let source = values.get(1)?.get::<gst::Element>().ok()?;
        let Target::Address(route, routes) = &context.target else { return None };
        if source.has_property_with_type("automatic-redirect", bool::static_type()) {
            // Nobody asks us whether a redirect may be followed.
            source.set_property("automatic-redirect", routes.may_follow_unasked());
        }
        let credentials = context.settings.credentials().filter(|_| route.sends_credentials);
        set_credentials(&source, credentials.as_ref());
        match source.factory().map(|factory| factory.name().to_string()).as_deref() {
            Some("rtspsrc") => set_up_rtsp(&context, &source),
            Some("souphttpsrc") => set_up_http(&context.settings, &source),
            _ => {}
        }
        None
    });
}

fn set_credentials(source: &gst::Element, credentials: Option<&Credentials>) {
    let Some(credentials) = credentials else { return };
    for (name, value) in [("user-id", &credentials.user), ("user-pw", &credentials.password)] {
        if source.has_property_with_type(name, String::static_type()) {
            source.set_property(name, value);
        }
    }
}

fn micros(nanos: u64) -> u64 {
    nanos / 1_000
}

fn set_up_rtsp(context: &Arc<Context>, source: &gst::Element) {
    let settings = &context.settings;
    source.set_property("latency", settings.latency_ms());
    source.set_property("tcp-timeout", micros(settings.tcp_timeout));
    source.set_property_from_str("protocols", settings.transport.protocols());
    if settings.transport != Transport::Auto {
        // What was asked for, and nothing else after a while.
        source.set_property("timeout", 0_u64);
    }
    source.set_property("tls-validation-flags", settings.tls_validation_flags);
    if let Some(database) = tls_database(settings) {
        source.set_property("tls-database", database);
    }
    source.connect("select-stream", false, {
        let context = Arc::clone(context);
        move |values| {
            let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
            let media = caps.and_then(|caps| caps.structure(0)?.get::<String>("media").ok());
            let mut hints = lock(&context.hints);
            let is_first_video = media.as_deref() == Some("video") && !hints.has_video;
            hints.requests = 0;
            hints.has_asked |= is_first_video;
            hints.has_video |= is_first_video;
            hints.others.extend(media.filter(|media| media != "video"));
            Some(is_first_video.to_value())
        }
    });
    source.connect("accept-certificate", false, {
        let context = Arc::clone(context);
        move |values| {
            let problems = values.get(3).and_then(|value| value.get::<gio::TlsCertificateFlags>().ok());
            lock(&context.hints).certificate = Some(problems.map_or_else(String::new, spell_out));
            Some(false.to_value())
        }
    });
    source.connect("before-send", false, {
        let context = Arc::clone(context);
        move |values| {
            if context.settings.credentials().is_some() {
                hush::requests();
            }
            let source = values.first().and_then(|value| value.get::<gst::Element>().ok());
            let location = source.and_then(|source| source.property::<Option<String>>("location"));
            let may_send = context.may_go_to(location.as_deref()) && context.may_ask_again();
            Some(may_send.to_value())
        }
    });
}

impl Context {
    /// Notes a redirect that may not be followed, of a source that has failed before it could ask us: it speaks to the
    /// new place as it did to the old, and encrypted to who is not.
    pub(super) fn look_for_redirect(&self, source: Option<&gst::Object>) {
        let Some(source) = source.and_then(|source| source.downcast_ref::<gst::Element>()) else { return };
        if source.factory().is_some_and(|factory| factory.name() == "rtspsrc") {
            let location = source.property::<Option<String>>("location");
            self.may_go_to(location.as_deref());
        }
    }

    /// Whether the source may talk to where it has been sent.
    fn may_go_to(&self, location: Option<&str>) -> bool {
        let (Target::Address(route, routes), Some(location)) = (&self.target, location) else { return true };
        let (scheme, _) = location.split_once("://").unwrap_or_default();
        let refusal = match routes.check_redirect(location) {
            Err(refusal) => refusal.to_string(),
            // rtspsrc keeps the kind of connection it began with, whatever the scheme says.
            Ok(()) if !scheme.eq_ignore_ascii_case(route.address.scheme()) => {
                let from = route.address.scheme();
                format!(
                    "a redirect from {from} to {scheme} is not followed: expected one with the same scheme"
                )
            }
            Ok(()) => return true,
        };
        lock(&self.hints).redirect = Some(refusal);
        false
    }

    /// A server of HTTP answered with that status.
    pub(super) fn answered(&self, status: u32) {
        let mut hints = lock(&self.hints);
        let Target::Address(route, routes) = &self.target else { return };
        if !(300..400).contains(&status) {
            hints.http_status = Some(status);
        } else if !routes.may_follow_unasked() {
            let refusal = format!(
                "a redirect from {} is not followed because of its credentials, tls-policy or allowed-schemes: \
                 set uri to the new address if that is what you want",
                route.address
            );
            hints.redirect = Some(refusal);
        }
    }

    /// Whether one more request may be sent before there are streams: rtspsrc offers a wrong password over and over
    /// on one connection, and cameras lock out who does.
    fn may_ask_again(&self) -> bool {
        let mut hints = lock(&self.hints);
        if hints.has_video || self.settings.credentials().is_none() {
            return true;
        }
        hints.requests += 1;
        hints.is_refused = hints.requests > MAX_REQUESTS;
        !hints.is_refused
    }
}

fn set_up_http(settings: &Settings, source: &gst::Element) {
    if settings.tls_validation_flags.is_empty() {
        source.set_property("ssl-strict", false);
    }
    if let Some(database) = tls_database(settings) {
        source.set_property("tls-database", database);
    }
    source.set_property("timeout", whole_seconds(settings.tcp_timeout));
}

/// As `souphttpsrc` has it: 0 is for ever, and anything else no less than a second and no more than an hour.
fn whole_seconds(nanos: u64) -> u32 {
    let seconds = u32::try_from(Duration::from_nanos(nanos).as_secs()).unwrap_or(u32::MAX);
    if nanos == 0 { 0 } else { seconds.clamp(1, 3600) }
}

/// The certificates that the user trusts. What is wrong with them has been said at READY.
fn tls_database(settings: &Settings) -> Option<gio::TlsFileDatabase> {
    settings.tls_database.as_deref().and_then(|path| open_tls_database(path).ok())
}

/// # Errors
/// What is wrong with the file, for people.
pub(super) fn open_tls_database(path: &str) -> Result<gio::TlsFileDatabase, String> {
    let wrong = |error: String| format!("tls-database={path}: expected a file of PEM certificates: {error}");
    // GnuTLS wants the whole path.
    let whole = std::path::absolute(path).map_err(|error| wrong(error.to_string()))?;
    let database = gio::TlsFileDatabase::new(whole).map_err(|error| wrong(error.message().to_owned()))?;
    database.downcast().map_err(|_| wrong("not a file".to_owned()))
}

/// What is wrong with a certificate, for people.
fn spell_out(problems: gio::TlsCertificateFlags) -> String {
    let known = [
        (gio::TlsCertificateFlags::UNKNOWN_CA, "signed by nobody who is trusted (unknown-ca)"),
        (gio::TlsCertificateFlags::BAD_IDENTITY, "made for another host (bad-identity)"),
        (gio::TlsCertificateFlags::NOT_ACTIVATED, "not valid yet (not-activated)"),
        (gio::TlsCertificateFlags::EXPIRED, "expired"),
        (gio::TlsCertificateFlags::REVOKED, "revoked"),
        (gio::TlsCertificateFlags::INSECURE, "too weak (insecure)"),
    ];
    let found: Vec<_> =
        known.iter().filter(|(flag, _)| problems.contains(*flag)).map(|(_, text)| *text).collect();
    if found.is_empty() { "refused".to_owned() } else { found.join(", ") }
}
