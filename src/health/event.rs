//! Every event there is: one Rust type each, with both conversions, and the table the documentation is made of.

use super::value::{Field, Value};
use super::{EventSpec, FieldSpec, ParseError, Severity};

/// Declares the events: a struct each, the enum of them, and their specifications.
macro_rules! events {
    ($(
        $type:ident = $name:literal, $severity:ident, by $posted_by:literal, when $when:literal
        { $( $field:ident : $kind:ty = $key:literal, $meaning:literal; )* }
    )*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $when, ".")]
            #[derive(Clone, Debug, Default, PartialEq)]
            pub struct $type {
                $(
                    #[doc = concat!("Field `", $key, "`: ", $meaning, ".")]
                    pub $field: $kind,
                )*
            }

            impl From<$type> for Event {
                fn from(event: $type) -> Self {
                    Self::$type(event)
                }
            }
        )*

        /// Something that happened.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $(
                #[doc = concat!("See [`", stringify!($type), "`].")]
                $type($type),
            )*
        }

        impl Event {
            /// Every kind of event.
            pub const SPECS: &'static [EventSpec] = &[$(
                EventSpec {
                    name: $name,
                    severity: Severity::$severity,
                    posted_by: $posted_by,
                    when: $when,
                    fields: &[$(
                        FieldSpec { name: $key, kind: <$kind as Field>::KIND, meaning: $meaning },
                    )*],
                },
            )*];

            /// Value of the field `event`.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $( Self::$type(_) => $name, )*
                }
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(&self) -> Severity {
                match self {
                    $( Self::$type(_) => Severity::$severity, )*
                }
            }

            /// Its own fields, in the order of its specification.
            #[must_use]
            pub fn into_fields(self) -> Vec<(&'static str, Value)> {
                match self {
                    $(
                        Self::$type($type { $( $field ),* }) =>
                            vec![$( ($key, $field.into_value()) ),*],
                    )*
                }
            }

            /// The event called `name` with the fields that `get` finds.
            ///
            /// # Errors
            ///
            /// For a name that no event has, and for a field that is missing or of another type.
            pub fn parse(
                name: &str,
                mut get: impl FnMut(&'static str) -> Option<Value>,
            ) -> Result<Self, ParseError> {
                // An event without fields does not ask.
                let _ = &mut get;
                match name {
                    $(
                        $name => Ok(Self::$type($type {
                            $( $field: Field::parse($key, get($key))?, )*
                        })),
                    )*
                    _ => Err(ParseError::UnknownEvent { found: name.to_owned() }),
                }
            }
        }
    };
}

events! {
    FeedStarted = "feed-started", Info, by "nvhealth", when "the first frame of a session came" {
        session: u32 = "session", "number of the session at this element, from 0";
    }
    FeedStalled = "feed-stalled", Warning, by "nvhealth", when "no frame came for stall-timeout, once per stall" {
        silent_for: u64 = "silent-for", "time since the last frame, in ns";
        blocked: bool = "downstream-blocked", "whether a frame is stuck downstream, so that none can come";
    }
    FeedRecovered = "feed-recovered", Info, by "nvhealth", when "a frame came after feed-stalled" {
        stalled_for: u64 = "stalled-for", "time between the two frames, in ns";
    }
    FrameLag = "frame-lag", Warning, by "nvhealth", when "a frame is later than lag-threshold; count is frames" {
        lag: u64 = "lag", "running time now, less latency, less running time of the frame, in ns";
        peak: u64 = "lag-peak", "greatest lag since frames are late, in ns";
        threshold: u64 = "threshold", "the property lag-threshold, in ns";
    }
    LagRecovered = "lag-recovered", Info, by "nvhealth", when "frames are in time again, below half of lag-threshold" {
        lagged_for: u64 = "lagged-for", "time from the first late frame, in ns";
        peak: u64 = "lag-peak", "greatest lag in that time, in ns";
    }
    Discontinuity = "discontinuity", Warning, by "nvhealth",
    when "the running time of frames jumped by more than 5 s" {
        gap: u64 = "gap", "size of the jump, in ns";
        direction: String = "direction", "forward or backward";
    }
    CapsChanged = "caps-changed", Info, by "nvhealth", when "the caps changed within a session" {
        caps: String = "caps", "the new caps";
    }
    FpsLow = "fps-low", Warning, by "nvhealth",
    when "fewer frames came than fps-min, once until there are a tenth more than that again" {
        fps: f64 = "fps", "frames a second, measured over at least a second";
        fps_min: f64 = "fps-min", "the property fps-min, in frames a second";
    }
    Idle = "idle", Warning, by "nvhealth", when "no frame came for idle-timeout, once per pause" {
        idle_for: u64 = "idle-for", "time since the last frame, in ns";
        action: String = "action", "the property idle-action: message, or eos if the feed was ended for it";
    }
    Resumed = "resumed", Info, by "nvhealth", when "a frame came after idle" {
        idle_for: u64 = "idle-for", "time between the two frames, in ns";
    }
    SourceConnected = "source-connected", Info, by "nvfeed",
    when "the first frame of a source came, also after an outage; once each" {
        session: u32 = "session", "number of the session at this element, from 0";
        uri: String = "uri", "what it is connected to, without credentials";
        attempts: u32 = "attempts", "attempts since the last stable session";
        outage: u64 = "outage", "time without a frame since source-disconnected, in ns; 0 without an outage";
    }
    SourceDisconnected = "source-disconnected", Warning, by "nvfeed",
    when "a source was lost, or could not be had in the first place; once an outage" {
        reason: String = "reason", "unreachable, unresolvable, unauthorized, not-found, timeout (no first frame), stalled, ended, tls, insecure, decode, unsupported, no-video, too-large, downstream or failed";
        detail: String = "detail", "what happened, for people";
        uri: String = "uri", "what it was connected to, without credentials";
    }
    SourceReconnecting = "source-reconnecting", Warning, by "nvfeed", when "another attempt was scheduled" {
        attempt: u32 = "attempt", "number of the attempt since the last stable session, from 1";
        delay: u64 = "delay", "time until it begins, in ns";
        reason: String = "reason", "why the last source failed, as in source-disconnected";
        detail: String = "detail", "what happened, for people";
    }
    FeedRestarting = "feed-restarting", Warning, by "nvfeed",
    when "the source is made anew for broken data, at its end, or because the user wants it" {
        restart_count: u32 = "restart-count", "restarts for broken data within restart-window, this one included";
        delay: u64 = "delay", "time until it begins, in ns";
        reason: String = "reason", "user-requested, end-of-stream, or as in source-disconnected";
        detail: String = "detail", "what happened, for people";
    }
    InsecureRtsp = "insecure-rtsp", Warning, by "nvfeed", when "a session is not encrypted, once each" {
        uri: String = "uri", "what it is connected to, without credentials";
    }
    DecodeDecision = "decode-decision", Info, by "nvfeed", when "the decoder of a session is known, once each" {
        outcome: String = "outcome", "hardware, software, or none for frames that need no decoder";
        factory: String = "factory", "name of the decoder";
        preference: String = "preference", "the property decode-preference";
        fallback: String = "fallback", "why that was not followed; empty if it was";
    }
    SourceEos = "source-eos", Info, by "nvfeed, nvhealth", when "the feed has given all it had" {}
    FeedStopped = "feed-stopped", Warning, by "nvfeed, nvhealth", when "a session ended (nvhealth) or the feed is over (nvfeed), exactly once each" {
        reason: String = "reason", "user-requested, end-of-stream, restart-limit or fatal";
        detail: String = "detail", "what happened, for people; empty if the reason says it all";
        session: u32 = "session", "number of the session, from 0";
        frames: u64 = "frames", "frames of the session";
    }
    FeedReport = "feed-report", Info, by "nvhealth", when "report-interval has passed" {
        session: u32 = "session", "number of the session, from 0";
        frames: u64 = "frames", "frames since the element was made";
        fps: f64 = "fps", "frames a second since the last report";
        lag: u64 = "lag", "lag of the last frame, in ns";
        uptime: u64 = "uptime", "time since the session began, in ns";
    }
    BackpressureDrop = "backpressure-drop", Warning, by "nvbatcher",
    when "frames were dropped because their feed's queue was full; count is frames" {
        policy: String = "policy", "the overload rule that dropped them: drop-oldest or drop-newest";
    }
    BatchRejected = "batch-rejected", Warning, by "nvbatcher, nvinference",
    when "frames were not given to the engine; count is frames" {
        reason: String = "reason", "queue-full (pass-through: they travel on without inference) or engine-failed";
    }
    StageError = "stage-error", Warning, by "nvbatcher, nvfeed, nvinference, nvtrack, nvunbatcher",
    when "frames or events of a feed could not be used; count is occurrences" {
        stage: String = "stage", "what refused them: source, format, timestamp, decode, track or downstream";
        detail: String = "detail", "what was expected and what was found";
    }
    BatchTimeout = "batch-timeout", Warning, by "nvinference",
    when "the engine did not answer within response-timeout; count is batches" {
        limit: u64 = "limit", "the property response-timeout, in ns";
        batch_size: u32 = "batch-size", "frames of the batch";
        feeds: Vec<String> = "feeds", "the feeds it had frames of";
    }
    BatchError = "batch-error", Warning, by "nvinference",
    when "a batch failed, also when it was tried again at half its size; count is batches" {
        batch_size: u32 = "batch-size", "frames that have no result for it";
        feeds: Vec<String> = "feeds", "the feeds it had frames of";
        detail: String = "detail", "what the engine said";
        consecutive: u32 = "consecutive", "batches that failed one after another";
    }
    EngineDegraded = "engine-degraded", Error, by "nvinference",
    when "three batches failed in a row, or the engine cannot be brought back" {
        state: String = "state", "degraded: batches are still tried; failed: none is, until the element restarts";
        detail: String = "detail", "what the engine said last";
        consecutive: u32 = "consecutive", "batches that failed one after another";
    }
    EngineRecovered = "engine-recovered", Info, by "nvinference",
    when "a batch succeeded after engine-degraded or engine-rebuilt" {
        degraded_for: u64 = "degraded-for", "time since the engine was degraded, in ns";
    }
    EngineRebuilt = "engine-rebuilt", Warning, by "nvinference",
    when "an engine that did not answer was replaced by a new one" {
        load_time: u64 = "load-time", "how long that took, in ns";
        rebuilds: u32 = "rebuilds", "how often since the element started";
    }
    ModelLoading = "model-loading", Info, by "nvinference", when "the model begins to load" {
        model: String = "model", "path of the model";
    }
    ModelReady = "model-ready", Info, by "nvinference", when "the model is loaded and has run once" {
        model: String = "model", "name of the model";
        provider: String = "provider", "what runs it";
        providers: String = "providers", "each provider with how many nodes of the graph it runs, as `cuda 118, cpu 4`; only its name where the runtime does not tell";
        decoder: String = "decoder", "how its outputs are read";
        load_time: u64 = "load-time", "how long it took, in ns";
    }
    ProviderFallback = "provider-fallback", Warning, by "nvinference",
    when "the CPU took the place of a provider that is not there, which `allow-fallback` allows" {
        requested: String = "requested", "the property provider";
        provider: String = "provider", "what runs the model";
        detail: String = "detail", "why the other one does not, and what to install";
    }
    TrackRejected = "track-rejected", Warning, by "nvtrack",
    when "detections began no track because there were max-tracks already; count is detections" {
        max_tracks: u32 = "max-tracks", "the property max-tracks";
    }
    SinkPanic = "sink-panic", Warning, by "nvsink", when "a handler of new-output panicked; count is records" {}
    SinkTimeout = "sink-timeout", Error, by "nvsink",
    when "the consumer did not take what was queued within shutdown-timeout" {
        timeout: u64 = "timeout", "the property shutdown-timeout, in ns";
    }
    SinkBackpressure = "sink-backpressure", Warning, by "nvsink",
    when "records were dropped because the consumer is slow; count is records" {
        capacity: u32 = "capacity", "the property queue-capacity, in records";
    }
    OutputFailed = "output-failed", Error, by "nvruntime",
    when "an output could not be written, or a file of it not be turned; count is records lost" {
        output: String = "output", "name of the output";
        detail: String = "detail", "what the system said";
    }
    OutputLagged = "output-lagged", Warning, by "nvsink",
    when "a consumer that pulls did not pull in time; count is records it has lost" {
        consumer: String = "consumer", "which one: pull-output";
    }
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn value(kind: Kind) -> Value {
        match kind {
            Kind::U32 => Value::U32(7),
            Kind::U64 => Value::U64(u64::MAX),
            Kind::F64 => Value::F64(0.5),
            Kind::Flag => Value::Flag(true),
            Kind::Text => Value::Text("text".to_owned()),
            Kind::Texts => Value::Texts(vec!["a".to_owned(), "b".to_owned()]),
        }
    }

    #[test]
    fn every_event_comes_back_from_its_fields() {
        for spec in Event::SPECS {
            let kind_of = |name| spec.fields.iter().find(|field| field.name == name).map(|field| field.kind);
            let event = Event::parse(spec.name, |name| kind_of(name).map(value)).unwrap();
            assert_eq!((event.name(), event.severity()), (spec.name, spec.severity));
            let fields = event.clone().into_fields();
            let names: Vec<_> = fields.iter().map(|(name, value)| (*name, value.kind())).collect();
            let expected: Vec<_> = spec.fields.iter().map(|field| (field.name, field.kind)).collect();
            assert_eq!(names, expected);
            let back = Event::parse(spec.name, |name| {
                fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
            });
            assert_eq!(back, Ok(event));
        }
    }

    #[test]
    fn names_of_events_are_unique_and_in_kebab_case() {
        let mut names: Vec<_> = Event::SPECS.iter().map(|spec| spec.name).collect();
        names.sort_unstable();
        names.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
        let fields = Event::SPECS.iter().flat_map(|spec| spec.fields).map(|field| field.name);
        for name in names.into_iter().chain(fields) {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = Event::parse("no-such", |_| None).unwrap_err();
        assert_eq!(error.to_string(), "field event: expected the name of a health event, found \"no-such\"");
        let error = Event::parse("feed-started", |_| Some(Value::Flag(true))).unwrap_err();
        assert_eq!(error.to_string(), "field session: expected uint, found boolean");
        let error = Event::parse("feed-started", |_| None).unwrap_err();
        assert_eq!(error.to_string(), "field session: expected uint, found nothing");
    }
}
