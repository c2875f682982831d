//! A site as the file has it: every key with its type and range, nothing merged and nothing resolved.
//!
//! What must be there is optional here too, so that one missing key hides no other problem. The comments are the
//! descriptions of the JSON Schema.

use super::choice::{
    Algorithm, DecodePreference, Decoder, Embeddings, OnEnd, OnError, OnFeedExit, OperateOn, OutputType,
    Overflow, Overload, Precision, Provider, TlsPolicy, Transport,
};
use super::value::{Bytes, DAY, Name, Number, Secret, Text, Time, User, Whole};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::fmt;

/// A time that is a day at most.
pub(super) type Timeout = Time<0, DAY>;
/// Such a time that is not nothing.
pub(super) type Answer = Time<1, DAY>;
/// A share.
pub(super) type Ratio = Number<1>;

/// A table, and nothing else: serde would take a list for one, its values in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tables<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Tables<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }
        deserializer.deserialize_map(Tables(std::marker::PhantomData))
    }
}

/// Defines a table: all keys are optional, others are refused.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($(#[$key_meta:meta])* $key:ident: $type:ty,)* }) => {
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        $(#[$meta])*
        pub(super) struct $name {
            $($(#[$key_meta])* pub(super) $key: Option<$type>,)*
        }
    };
}

table! {
    /// A site: what a runtime is to do. Times are texts with units, such as "10s" or "50ms".
    Site {
        /// Limits and manners of the runtime.
        runtime: Table<Runtime>,
        /// When a feed is unwell, unless the feed says otherwise.
        health: Table<Health>,
        /// Thumbnails of feeds on the page.
        previews: Table<Previews>,
        /// The models.
        #[cfg_attr(feature = "testing", schemars(length(max = 64)))]
        models: Vec<Table<Model>>,
        /// Feeds that share models and batches.
        #[cfg_attr(feature = "testing", schemars(length(max = 64)))]
        groups: Vec<Table<Group>>,
        /// Keys that all feeds have, unless they have their own.
        defaults: Table<Defaults>,
        /// The feeds.
        #[cfg_attr(feature = "testing", schemars(length(max = 4096)))]
        feeds: Vec<Table<Feed>>,
        /// Where records go.
        #[cfg_attr(feature = "testing", schemars(length(max = 64)))]
        outputs: Vec<Table<Output>>,
    }
}

table! {
    /// Limits and manners of the runtime.
    Runtime {
        /// Most feeds at a time. Default: 64.
        max_feeds: Whole<1, 4096>,
        /// What the end of one feed means to the others. Default: isolate.
        on_feed_exit: OnFeedExit,
        /// How long feeds and outputs may take to finish. Default: 10s.
        drain_timeout: Timeout,
        /// A feed without a frame for so long is ended; 0s is never. Default: 0s.
        idle_timeout: Timeout,
        /// Address and port of the page, /metrics and /health; empty is nowhere. Default: nowhere.
        metrics_address: String,
        /// Whether feeds may have custom-pipeline, which makes whatever elements it names. Default: false.
        allow_custom_pipeline: bool,
    }
}

table! {
    /// When a feed is unwell.
    Health {
        /// Time without a frame after which the feed is stalled; 0s is never. Default: 2s.
        stall_timeout: Timeout,
        /// Lag from which frames are late; 0s is never. Default: 2s.
        lag_threshold: Timeout,
        /// Least frames a second; 0 is off. Default: 0.
        fps_min: Number<1_000_000>,
    }
}

table! {
    /// Thumbnails of feeds on the page.
    Previews {
        /// Whether there are any. Default: true.
        enabled: bool,
        /// Their width in pixels. Default: 320.
        width: Whole<64, 1920>,
        /// Whether boxes, labels and tracks are drawn. Default: true.
        overlay: bool,
    }
}

table! {
    /// A model. Where a default is that of the sidecar, the one said here is that without a sidecar.
    Model {
        /// Name, unique among models.
        #[cfg_attr(feature = "testing", schemars(required))]
        name: Name,
        /// The ONNX file; relative paths start at the folder of the site file.
        #[cfg_attr(feature = "testing", schemars(required))]
        path: Text,
        /// What the model is asked about. Default: frame.
        operate_on: OperateOn,
        /// How its outputs are read. Default: auto.
        decoder: Decoder,
        /// What runs it. Default: cpu.
        provider: Provider,
        /// Whether the CPU takes the place of a provider that is not there. Default: false.
        allow_fallback: bool,
        /// Number of the device the provider runs on. Default: 0.
        device_id: Whole<0, 255>,
        /// Numbers that TensorRT may calculate with. Default: model.
        precision: Precision,
        /// Threads; 0 is by the machine. Default: 0.
        threads: Whole<0, 1024>,
        /// Least confidence of a detection. Default: the sidecar's, 0.4.
        score_threshold: Ratio,
        /// Overlap above which the weaker of two detections is dropped. Default: the sidecar's, 0.5.
        iou_threshold: Ratio,
        /// File with the name of a class in each line. Default: the sidecar's or the model's own.
        labels: Text,
        /// Most detections per frame, or objects asked about. Default: 300.
        max_detections: Whole<1, 10_000>,
        /// Labels of the objects to ask about. Default: all. Only with operate-on = "objects".
        #[cfg_attr(feature = "testing", schemars(length(min = 1)))]
        object_labels: Vec<Name>,
        /// Least width and height of such objects in pixels. Default: 16. Only with operate-on = "objects".
        object_min_size: Whole<1, 32_768>,
        /// Least frames from one time a track is asked about to the next. Default: 1. Only with operate-on = "objects".
        reinfer_interval: Whole<1, 1_000_000>,
        /// Longest time for a batch. Default: 5s.
        response_timeout: Answer,
        /// Longest time to load and warm up. Default: 30s.
        startup_timeout: Answer,
        /// Folder for what is kept for the next start. Default: nothing is kept.
        cache_dir: Text,
        /// What happens to a frame that could not be inferred. Default: pass.
        on_error: OnError,
    }
}

table! {
    /// Feeds that share models and batches.
    Group {
        /// Name, unique among groups.
        #[cfg_attr(feature = "testing", schemars(required))]
        name: Name,
        /// Names of models, in the order they are asked: the first about frames, all others about objects.
        #[cfg_attr(feature = "testing", schemars(required, length(min = 1)))]
        models: Vec<Name>,
        /// Most frames in a batch. Default: 4.
        max_batch_size: Whole<1, 1024>,
        /// Longest time a frame waits for its batch to fill; 0s never waits. Default: 50ms.
        max_latency: Time<0, 3_600_000>,
        /// The tracker behind the first model. Default: none.
        tracker: Table<Tracker>,
    }
}

table! {
    /// A tracker, which gives detections an identity over time.
    Tracker {
        /// How detections and tracks are paired. Default: bytetrack.
        algorithm: Algorithm,
        /// Frames without a detection after which a track ends. Default: 30.
        max_age: Whole,
        /// Frames in a row until a track is confirmed. Default: 3.
        min_hits: Whole,
        /// Frames in a row on which a missed track is still reported. Default: 3.
        coast_frames: Whole<0, 30>,
        /// Most tracks at a time. Default: 500.
        max_tracks: Whole<1, 4096>,
        /// Whether a track has detections of one class only. Default: true.
        class_aware: bool,
        /// Least overlap of a detection and the box of its track. Default: 0.2.
        iou_threshold: Ratio,
        /// Least confidence of a detection that begins a track. Default: 0.4.
        high_threshold: Ratio,
        /// Least confidence of a detection that goes on with a track. Default: 0.3.
        low_threshold: Ratio,
        /// What likeness counts for against overlap. Default: 0.5.
        appearance_weight: Ratio,
    }
}

table! {
    /// Where records go.
    Output {
        /// Name, unique among outputs.
        #[cfg_attr(feature = "testing", schemars(required))]
        name: Name,
        /// Where to.
        #[cfg_attr(feature = "testing", schemars(required))]
        r#type: OutputType,
        /// The file of type = "file"; {feed} in it is the id of the feed, made safe for a file name.
        path: Text,
        /// Size from which a new file is begun. Default: never. Only with type = "file".
        rotate_size: Bytes,
        /// Rotated files that are kept. Default: 10. Only with rotate-size.
        keep: Whole<1, 10_000>,
        /// Records that may wait. Default: 16.
        queue_capacity: Whole<1, 65_536>,
        /// What happens to a record when so many wait. Default: drop-newest.
        overflow: Overflow,
        /// Whether the vectors on objects stand in records, and in which form. Default: none.
        embeddings: Embeddings,
        /// Ids of the feeds whose records go there. Default: all.
        #[cfg_attr(feature = "testing", schemars(length(min = 1)))]
        feeds: Vec<Name>,
    }
}

/// Defines the tables of a feed and of the defaults, which share most keys.
macro_rules! feed_tables {
    ({ $($(#[$own_meta:meta])* $own:ident: $own_type:ty,)* }
     { $($(#[$key_meta:meta])* $key:ident: $type:ty,)* }) => {
        table! {
            /// Keys that all feeds have, unless they have their own.
            Defaults { $($(#[$key_meta])* $key: $type,)* }
        }

        table! {
            /// A feed. It has a uri or a custom-pipeline.
            #[cfg_attr(feature = "testing", schemars(extend(
                "oneOf" = [{ "required": ["uri"] }, { "required": ["custom-pipeline"] }]
            )))]
            Feed { $($(#[$own_meta])* $own: $own_type,)* $($(#[$key_meta])* $key: $type,)* }
        }

        impl Feed {
            /// The feed with those keys of `defaults` that it does not have.
            pub(super) fn or(self, defaults: &Defaults) -> Self {
                Self { $($own: self.$own,)* $($key: self.$key.or_else(|| defaults.$key.clone()),)* }
            }
        }
    };
}

feed_tables! {
    {
        /// Name of the feed, unique among feeds.
        #[cfg_attr(feature = "testing", schemars(required))]
        id: Name,
        /// A URI such as rtsp://camera/stream, without user and password; or the path of a file.
        uri: Text,
        /// Elements in place of uri, as gst-launch-1.0 reads them. Only with runtime.allow-custom-pipeline.
        custom_pipeline: Text,
    }
    {
        /// User to authenticate as.
        user: User,
        /// Where the password is; never the password itself.
        password: Secret,
        /// Name of the group. May be left out if there is one only.
        group: Name,
        /// Whether the feed is started. Default: true.
        enabled: bool,
        /// When the feed is unwell. Default, key by key: that of the defaults, then that of the site.
        health: Table<Health>,
        /// Whether a file is played at its own pace. Default: false.
        realtime: bool,
        /// Whether a source that is not live begins again at its end. Default: false.
        r#loop: bool,
        /// What becomes of the stream at the end of the source. Default: eos.
        on_end: OnEnd,
        /// Frames between two that are inferred. Default: 0.
        interval: Whole<0, 10_000>,
        /// What a full queue does with the next frame. Default: auto.
        overload: Overload,
        /// Frames that may wait for a batch. Default: 4.
        max_size_buffers: Whole<1, 10_000>,
        /// Frames that may be in batches and behind. Default: 2.
        max_in_flight: Whole<1, 10_000>,
        /// What may travel unencrypted. Default: prefer.
        tls_policy: TlsPolicy,
        /// File of PEM certificates whose signatures are trusted. Default: those of the system.
        tls_database: Text,
        /// How RTP comes from an RTSP server. Default: tcp.
        transport: Transport,
        /// How long RTP packets wait for those that are late. Default: 200ms.
        latency: Time<0, 3_600_000>,
        /// Which decoders may be used. Default: auto.
        decode_preference: DecodePreference,
        /// Delay before the first attempt after a source was lost. Default: 1s.
        reconnect_base_delay: Time<100, DAY>,
        /// Longest delay before an attempt. Default: 30s.
        reconnect_max_delay: Time<100, DAY>,
        /// Attempts after which the feed stops; 0 is any number. Default: 0.
        reconnect_max_attempts: Whole,
        /// Restarts for data that cannot be decoded, after which the feed stops. Default: 5.
        max_restarts: Whole,
        /// How long the first frame may take; 0s is for ever. Default: 10s.
        liveness_timeout: Timeout,
        /// How long any further frame may take before the source is replaced; 0s is for ever. Default: 10s.
        stall_timeout: Timeout,
        /// How long a connection may take to be made or to answer; 0s is as long as the system waits. Default: 10s.
        tcp_timeout: Timeout,
        /// Widest picture in pixels; 0 is any. Default: 8192.
        max_width: Whole,
        /// Highest picture in pixels; 0 is any. Default: 8192.
        max_height: Whole,
        /// Highest frame rate; 0 is any. Default: 0.
        max_fps: Whole,
    }
}
