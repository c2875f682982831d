//! From what stands on a frame to what is to be painted on it: small pieces with their places.
//!
//! Responsible for the look: sizes that fit the frame, colours that stay with a class or a track, text, places of
//! labels, tails of tracks, the status line; and for painting the pieces onto the bytes of a frame. Everything is
//! bounded: regions drawn, tracks and points remembered, text, caches. Whatever the regions say, pieces lie inside the
//! frame.
//!
//! Not responsible for reading frames or time: the caller passes plain values and `now`. A steady picture costs
//! little, because text is kept once it is set.

mod cache;
mod color;
mod labels;
mod paint;
mod scene;
mod sizes;
mod status;
mod tails;
mod text;

pub use color::{Palette, Rgb};
pub use paint::{Canvas, Channel, Component, PaintError};
pub use scene::{Artist, MAX_DRAWN, Options, Part, Scene, Style};

use crate::output::Status;
use crate::vision::Rect;
use std::sync::Arc;

/// Something found on a frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Region<'a> {
    /// Where it is, in pixels of the frame; any number at all is taken.
    pub box_in_frame: Rect,
    /// Name of its class; may be empty.
    pub label: &'a str,
    /// Number of its class, if it has one.
    pub class: Option<u32>,
    /// How sure the model is, `0..=1`; `None` if nobody said.
    pub confidence: Option<f32>,
    /// Its identity over time, if a tracker gave one.
    pub track: Option<Track>,
    /// What other models said of it.
    pub attributes: Vec<Attribute<'a>>,
}

/// The identity of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// The same for the same object.
    pub id: i64,
    /// What the tracker knows of it.
    pub state: TrackState,
}

/// What a tracker knows of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackState {
    /// Not yet sure that it is one.
    Tentative,
    /// Seen on this frame.
    #[default]
    Confirmed,
    /// Not seen on this frame; the box is predicted.
    Coasted,
    /// Gone: not drawn.
    Lost,
}

impl TrackState {
    /// The state of that name; unknown ones count as confirmed.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name {
            "tentative" => Self::Tentative,
            "coasted" => Self::Coasted,
            "lost" => Self::Lost,
            _ => Self::Confirmed,
        }
    }
}

/// What a further model said of a region.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Attribute<'a> {
    /// Its answer.
    pub label: &'a str,
    /// How sure it is, `0..=1`; `None` if it did not say.
    pub confidence: Option<f32>,
}

/// What is known of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note<'a> {
    /// Name of its feed.
    pub feed_id: &'a str,
    /// What became of it.
    pub status: Status,
    /// Rises each time the feed reconnects: tails of an earlier session are forgotten.
    pub session: u32,
}

/// How much of each pixel is covered, row by row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// 0: not at all; 255: wholly. `width * height` of them.
    pub coverage: Box<[u8]>,
}

/// Which pixels of a piece the ink covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// All of them.
    Full,
    /// As the mask says; it is as large as the piece.
    Mask(Arc<Mask>),
}

/// A piece of the overlay. Lies inside the frame it was made for and is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Left side, in pixels of the frame.
    pub x: u32,
    /// Top side.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// The colour of what is covered.
    pub ink: Rgb,
    /// The colour of what is not covered; `None`: the picture is seen there.
    pub ground: Option<Rgb>,
    /// What is covered.
    pub cover: Cover,
}

impl Piece {
    /// The colour and the opacity of one pixel with this coverage.
    #[must_use]
    pub fn pixel(&self, level: u8) -> (Rgb, u8) {
        match self.ground {
            Some(ground) => (ground.mixed(self.ink, level), u8::MAX),
            None => (self.ink, level),
        }
    }
}

#[cfg(test)]
mod tests;
