//! Choices of a site file, each by the nick of the property that takes it.

use super::problem::{did_you_mean, one_of};
use super::value::read_text;
use serde::de::{Deserialize, Deserializer};

/// Defines a choice: an enum whose values are read, and shown, by their nicks.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $value:ident = $nick:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
        pub enum $name {
            $($(#[$value_meta])* #[cfg_attr(feature = "testing", schemars(rename = $nick))] $value,)+
        }

        impl $name {
            /// All of them, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$value,)+];

            /// The nick of the value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $nick,)+
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const NICKS: &[&str] = &[$($nick,)+];
                let parse = |text: &str| {
                    let value = Self::ALL.iter().find(|value| value.as_str() == text);
                    value.copied().ok_or_else(|| did_you_mean(text, NICKS))
                };
                read_text(deserializer, one_of(NICKS), parse)
            }
        }
    };
}

choice! {
    /// What the end of one feed means to the others.
    OnFeedExit {
        /// Nothing.
        Isolate = "isolate",
        /// The first feed that ends or fails winds all of them down.
        Teardown = "teardown",
    }
}

choice! {
    /// What a model is asked about.
    OperateOn {
        /// Each frame as a whole.
        Frame = "frame",
        /// Each object on the frame, cut out of it.
        Objects = "objects",
    }
}

choice! {
    /// How the outputs of a model are read.
    Decoder {
        /// Chosen by the sidecar, the metadata and the shapes of the outputs.
        Auto = "auto",
        /// `[N, anchors, 5 + classes]`.
        Yolov5 = "yolov5",
        /// YOLOv8 and later: `[N, 4 + classes, anchors]`.
        Yolov8 = "yolov8",
        /// `[N, cells, 5 + classes]`.
        Yolox = "yolox",
        /// `[N, cells, classes + 4 distance distributions]`.
        Nanodet = "nanodet",
        /// NMS in the graph.
        Nms = "nms",
        /// Boxes, classes and scores.
        Ssd = "ssd",
        /// Logits and boxes of queries.
        Detr = "detr",
        /// Heat map, scale, offset and landmarks.
        Centerface = "centerface",
        /// `[N, classes]`.
        Classifier = "classifier",
        /// `[N, dims]`, a vector to compare objects by.
        Embedding = "embedding",
    }
}

choice! {
    /// What runs a model.
    Provider {
        /// The processor.
        Cpu = "cpu",
        /// NVIDIA CUDA.
        Cuda = "cuda",
        /// NVIDIA TensorRT.
        Tensorrt = "tensorrt",
        /// Intel OpenVINO.
        Openvino = "openvino",
    }
}

choice! {
    /// Numbers that TensorRT may calculate with.
    Precision {
        /// The numbers of the model.
        Model = "model",
        /// Half floats where they are faster.
        Fp16 = "fp16",
        /// Bytes where the model is quantised, half floats elsewhere.
        Int8 = "int8",
    }
}

choice! {
    /// What happens to a frame that could not be inferred.
    OnError {
        /// It goes on without detections; its status says why.
        Pass = "pass",
        /// It is dropped and counted.
        Drop = "drop",
    }
}

choice! {
    /// How detections and tracks are paired.
    Algorithm {
        /// Greedily, by overlap with the last box.
        Iou = "iou",
        /// The best assignment by overlap with the predicted box.
        Sort = "sort",
        /// The same in rounds by confidence.
        Bytetrack = "bytetrack",
    }
}

choice! {
    /// What a full queue of a feed does with the next frame.
    Overload {
        /// `drop-oldest` if the source is live, `block` otherwise.
        Auto = "auto",
        /// The frame that has waited longest makes room.
        DropOldest = "drop-oldest",
        /// The frame that comes in is dropped.
        DropNewest = "drop-newest",
        /// The source waits for room.
        Block = "block",
        /// Frames that do not fit travel on without inference.
        PassThrough = "pass-through",
    }
}

choice! {
    /// What may travel unencrypted.
    TlsPolicy {
        /// TLS is tried first, credentials never go without it.
        Prefer = "prefer",
        /// Everything is encrypted.
        Require = "require",
        /// As the URI says, credentials included.
        AllowInsecure = "allow-insecure",
    }
}

choice! {
    /// How RTP comes from an RTSP server.
    Transport {
        /// Through the RTSP connection.
        Tcp = "tcp",
        /// To this host.
        Udp = "udp",
        /// To a group that the server names.
        UdpMcast = "udp-mcast",
        /// Whatever the server offers, UDP first.
        Auto = "auto",
    }
}

choice! {
    /// Which decoders of video may be used.
    DecodePreference {
        /// As GStreamer ranks them.
        Auto = "auto",
        /// Software only.
        Cpu = "cpu",
        /// Hardware where there is some, unless it failed three times in a row.
        PreferHardware = "prefer-hardware",
        /// Hardware or nothing.
        RequireHardware = "require-hardware",
    }
}

choice! {
    /// What becomes of the stream when the source has given all it had.
    OnEnd {
        /// The stream ends.
        Eos = "eos",
        /// It begins again, as another session.
        Restart = "restart",
        /// It stays as it is, without end and without a frame.
        Stop = "stop",
    }
}

choice! {
    /// Where records go.
    OutputType {
        /// Into a file of JSON Lines.
        File = "file",
        /// Onto standard output, as JSON Lines.
        Stdout = "stdout",
        /// To the application, through the signal `new-output`.
        Appsink = "appsink",
    }
}

choice! {
    /// What happens to a record when the queue of its output is full.
    Overflow {
        /// The queue keeps what it has.
        DropNewest = "drop-newest",
        /// The queue keeps the latest records.
        DropOldest = "drop-oldest",
        /// The feeds wait until there is room.
        Block = "block",
    }
}

choice! {
    /// Whether the vectors on objects stand in records, and in which form.
    Embeddings {
        /// Records have no vectors.
        None = "none",
        /// 32-bit floats, little-endian, in base64.
        Base64 = "base64",
        /// Numbers.
        List = "list",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `docs/elements.md` lists under `heading`, in any element.
    fn documented(property: &str) -> Vec<Vec<String>> {
        let page = include_str!("../../docs/elements.md");
        let heading = format!("Values of `{property}`:\n\n");
        let nick = |line: &str| line.strip_prefix("* `")?.split('`').next().map(str::to_owned);
        page.split(&heading).skip(1).map(|list| list.lines().map_while(nick).collect()).collect()
    }

    #[test]
    fn the_choices_are_those_of_the_elements() {
        macro_rules! check {
            ($($choice:ident = $property:literal,)+) => {$(
                let nicks: Vec<_> = $choice::ALL.iter().map(|value| value.as_str().to_owned()).collect();
                assert!(documented($property).contains(&nicks), "{}: {nicks:?}", $property);
            )+};
        }
        check! {
            OperateOn = "operate-on",
            Decoder = "decoder",
            Provider = "provider",
            Precision = "precision",
            OnError = "on-error",
            Algorithm = "algorithm",
            Overload = "overload",
            TlsPolicy = "tls-policy",
            Transport = "transport",
            DecodePreference = "decode-preference",
            OnEnd = "on-end",
            Overflow = "overflow",
            Embeddings = "embeddings",
        }
    }
}
