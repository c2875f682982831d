//! What the user asks of the element.

use crate::overlay::{self, Options};

/// The parts of the overlay.
#[glib::flags(name = "GstNvOverlayStyle")]
pub enum Style {
    /// Outlines of the regions.
    #[flags_value(name = "Boxes: outlines of the regions", nick = "boxes")]
    BOXES = 0b00_0001,
    /// Names of their classes, with the confidence.
    #[flags_value(name = "Labels: names of their classes, with the confidence", nick = "labels")]
    LABELS = 0b00_0010,
    /// Identities of tracks.
    #[flags_value(name = "Ids: identities of tracks", nick = "ids")]
    IDS = 0b00_0100,
    /// Where tracks have been.
    #[flags_value(name = "Tails: where tracks have been", nick = "tails")]
    TAILS = 0b00_1000,
    /// What further models said of regions.
    #[flags_value(name = "Attributes: what further models said of regions", nick = "attributes")]
    ATTRIBUTES = 0b01_0000,
    /// The line of the feed.
    #[flags_value(
        name = "Status: name of the feed, its rate, and its status if it was not inferred",
        nick = "status"
    )]
    STATUS = 0b10_0000,
}

impl Default for Style {
    fn default() -> Self {
        Self::all()
    }
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "GstNvOverlayPalette")]
pub enum Palette {
    /// The track.
    #[default]
    #[enum_value(
        name = "Track: a colour stays with its track, or its class where there is no track",
        nick = "track"
    )]
    Track,
    /// The class.
    #[enum_value(name = "Class: a colour stays with its class", nick = "class")]
    Class,
}

pub(super) const DEFAULT_TAIL_LENGTH: u32 = 50;
pub(super) const MAX_TAIL_LENGTH: u32 = 1000;
pub(super) const MAX_LINE_WIDTH: u32 = 64;

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) style: Style,
    pub(super) palette: Palette,
    pub(super) scale: f64,
    pub(super) line_width: u32,
    pub(super) min_confidence: f64,
    pub(super) tail_length: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            style: Style::default(),
            palette: Palette::default(),
            scale: 1.0,
            line_width: 0,
            min_confidence: 0.0,
            tail_length: DEFAULT_TAIL_LENGTH,
        }
    }
}

impl Settings {
    #[expect(clippy::cast_possible_truncation, reason = "no more digits are of use")]
    pub(super) fn options(&self) -> Options {
        Options {
            style: overlay::Style::from_bits(self.style.bits()),
            palette: match self.palette {
                Palette::Track => overlay::Palette::Track,
                Palette::Class => overlay::Palette::Class,
            },
            scale: self.scale as f32,
            line_width: self.line_width,
            min_confidence: self.min_confidence as f32,
            tail_length: self.tail_length,
        }
    }
}
