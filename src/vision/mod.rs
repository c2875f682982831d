//! Geometry, pre-processing and decoding, on plain values: pixels in, detections out.
//!
//! Three coordinate spaces, and every name says which one it is in:
//!
//! * **frame**: pixels of the video frame, `0..width` by `0..height`;
//! * **model**: pixels of the model's input image, after the letterbox;
//! * **unit**: `0..=1` of the frame.
//!
//! Boxes are half-open: `x_max - x_min` is the width. A pixel covers `[x, x + 1)`, so its centre is at
//! `x + 0.5`: resizing and mapping boxes both use this convention and therefore agree.

pub mod decode;
pub mod labels;
pub mod letterbox;
pub mod nms;
pub mod preprocess;
pub mod rect;

use smallvec::SmallVec;

pub use rect::{Rect, Size};

/// One thing found in one image. The space of its box is said by whoever holds it: a decoder returns it in
/// model space, [`letterbox::Letterbox::frame_from_model`] moves it to frame space.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// Where it is.
    pub bbox: Rect,
    /// Index of its class in the model's labels.
    pub class: u32,
    /// How sure the model is, `0..=1`.
    pub confidence: f32,
    /// Named points of the thing (eyes, nose, …) as the model orders them, in the space of `bbox`.
    /// Empty for models without them.
    pub landmarks: Landmarks,
}

/// Points `[x, y]` of a detection. As many as a face has lie in the detection itself, so that finding one
/// allocates nothing.
pub type Landmarks = SmallVec<[[f32; 2]; 5]>;
