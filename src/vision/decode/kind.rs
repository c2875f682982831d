//! The names of the layouts, as properties and messages use them.

use std::fmt;
use std::str::FromStr;

use super::{DecodeError, Hints, OutputShape, choose};

/// A layout of model outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DecoderKind {
    /// Rows of box, objectness and class scores, as YOLOv5 and YOLOv7 export them.
    YoloV5,
    /// Columns of box and class scores, as YOLOv8 and its successors export them.
    YoloV8,
    /// Rows of offsets to a grid, objectness and class scores, as YOLOX exports them.
    YoloX,
    /// Rows of class scores and distance distributions, as NanoDet and NanoDet-Plus export them.
    NanoDet,
    /// Rows of finished detections: suppression is in the graph, or not needed.
    Nms,
    /// The four tensors of the TensorFlow Object Detection API.
    Ssd,
    /// Class logits and boxes of a fixed set of queries.
    Detr,
    /// The four maps of CenterFace: faces with five landmarks.
    CenterFace,
    /// One score per class for the whole image.
    Classifier,
    /// One vector for the whole image, to compare it with others.
    Embedding,
}

impl DecoderKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::YoloV5,
        Self::YoloV8,
        Self::YoloX,
        Self::NanoDet,
        Self::Nms,
        Self::Ssd,
        Self::Detr,
        Self::CenterFace,
        Self::Classifier,
        Self::Embedding,
    ];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::YoloV5 => "yolov5",
            Self::YoloV8 => "yolov8",
            Self::YoloX => "yolox",
            Self::NanoDet => "nanodet",
            Self::Nms => "nms",
            Self::Ssd => "ssd",
            Self::Detr => "detr",
            Self::CenterFace => "centerface",
            Self::Classifier => "classifier",
            Self::Embedding => "embedding",
        }
    }

    /// The outputs it reads, for messages.
    #[must_use]
    pub const fn layout(self) -> &'static str {
        match self {
            Self::YoloV5 => "[N, anchors, 5 + classes]",
            Self::YoloV8 => "[N, 4 + classes, anchors] or [N, anchors, 4 + classes]",
            Self::YoloX => "[N, anchors of strides 8 16 32, 5 + classes]",
            Self::NanoDet => "[N, cells of strides 8 16 32 (64), classes + 4 * bins]",
            Self::Nms => "[M, 7] (image, box, class, score) or [N, K, 6] (box, score, class)",
            Self::Ssd => "boxes [N, K, 4], classes [N, K], scores [N, K] and, if any, their number [N]",
            Self::Detr => "logits [N, queries, classes] and boxes [N, queries, 4]",
            Self::CenterFace => "maps [N, 1, h, w], [N, 2, h, w], [N, 2, h, w], [N, 10, h, w] at stride 4",
            Self::Classifier => "[N, classes] or [N, classes, 1, 1]",
            Self::Embedding => "[N, dims] or [N, dims, 1, 1]",
        }
    }
}

impl fmt::Display for DecoderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DecoderKind {
    type Err = UnknownDecoder;

    fn from_str(name: &str) -> Result<Self, UnknownDecoder> {
        let unknown = || UnknownDecoder { found: name.chars().take(64).collect() };
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or_else(unknown)
    }
}

/// A name that is no decoder's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "decoder: expected auto, yolov5, yolov8, yolox, nanodet, nms, ssd, detr, centerface, classifier or \
     embedding, found {found:?}"
)]
pub struct UnknownDecoder {
    /// The name, its first 64 characters.
    pub found: String,
}

/// What a user asks for: one layout, or whichever fits the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DecoderChoice {
    /// The one that [`choose()`] picks.
    #[default]
    Auto,
    /// This one.
    Fixed(DecoderKind),
}

impl DecoderChoice {
    /// Its name, `auto` or the kind's.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Fixed(kind) => kind.as_str(),
        }
    }

    /// The kind asked for, or the one picked for `outputs`.
    ///
    /// # Errors
    /// Those of [`choose()`], for [`DecoderChoice::Auto`].
    pub fn resolve(self, outputs: &[OutputShape], hints: &Hints) -> Result<DecoderKind, DecodeError> {
        match self {
            Self::Auto => choose(outputs, hints),
            Self::Fixed(kind) => Ok(kind),
        }
    }
}

impl fmt::Display for DecoderChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DecoderChoice {
    type Err = UnknownDecoder;

    fn from_str(name: &str) -> Result<Self, UnknownDecoder> {
        if name == Self::Auto.as_str() { Ok(Self::Auto) } else { name.parse().map(Self::Fixed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for kind in DecoderKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            assert_eq!(kind.to_string().parse(), Ok(DecoderChoice::Fixed(kind)));
        }
        assert_eq!("auto".parse(), Ok(DecoderChoice::Auto));
        assert_eq!(DecoderChoice::default().to_string(), "auto");
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        let error = "yolov99".parse::<DecoderChoice>().unwrap_err().to_string();
        assert!(DecoderKind::ALL.into_iter().all(|kind| error.contains(kind.as_str())), "{error}");
        assert!(error.ends_with("found \"yolov99\""), "{error}");
    }
}
