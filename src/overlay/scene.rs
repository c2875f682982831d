//! One frame's pieces, in the order in which they are painted.

use super::color::{Palette, Rgb};
use super::labels::{Area, Places};
use super::sizes::Sizes;
use super::status::StatusLine;
use super::tails::{TailLook, Tails};
use super::text::Typesetter;
use super::{Cover, Mask, Note, Piece, Region, TrackState};
use crate::time::Monotonic;
use crate::vision::Size;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most regions drawn on one frame; of more nothing could be seen, and painting them all would take for ever.
pub const MAX_DRAWN: usize = 512;
/// A frame is so many plates high at least, or has no text: there would be no picture left.
const PLATES_IN_FRAME: u32 = 4;

/// A part of the overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Outlines of the regions.
    Boxes = 1,
    /// Names of their classes, with the confidence.
    Labels = 2,
    /// Identities of tracks.
    Ids = 4,
    /// Where tracks have been.
    Tails = 8,
    /// What further models said.
    Attributes = 16,
    /// Name of the feed, its rate, and its status.
    Status = 32,
}

/// The parts that are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style(u32);

impl Style {
    /// Everything.
    pub const ALL: Self = Self(63);

    /// The sum of some [`Part`]s.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    const fn has(self, part: Part) -> bool {
        self.0 & part as u32 != 0
    }
}

/// What the user asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The parts that are drawn.
    pub style: Style,
    /// What colours stand for.
    pub palette: Palette,
    /// Multiplies the sizes of text and lines.
    pub scale: f32,
    /// Width of lines in pixels; 0 is worked out.
    pub line_width: u32,
    /// Regions below it are not drawn.
    pub min_confidence: f32,
    /// Frames after which a tail ends.
    pub tail_length: u32,
}

/// What is to be painted on one frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    /// In the order of painting.
    pub pieces: Vec<Piece>,
    /// Regions with a piece.
    pub drawn: u64,
    /// Regions and tails beyond what is drawn on one frame, and regions whose numbers are none.
    pub left_out: u64,
}

/// Makes the scenes of one stream, frame by frame.
#[derive(Debug, Default)]
pub struct Artist {
    typesetter: Typesetter,
    tails: Tails,
    status: StatusLine,
    places: Places,
    frame: Size,
    session: u32,
    text: String,
}

/// A region that is drawn.
struct Subject<'a, 'b> {
    region: &'b Region<'a>,
    area: Area,
    color: Rgb,
}

impl Artist {
    /// Forgets where tracks have been.
    pub fn forget(&mut self) {
        self.tails.clear();
    }

    /// Fills `scene` for the next frame, of size `frame`.
    pub fn draw(
        &mut self,
        frame: Size,
        regions: &[Region<'_>],
        note: Option<Note<'_>>,
        now: Monotonic,
        options: &Options,
        scene: &mut Scene,
    ) {
        scene.pieces.clear();
        (scene.drawn, scene.left_out) = (0, 0);
        let session = note.map_or(self.session, |note| note.session);
        if self.frame != frame || self.session != session {
            (self.frame, self.session) = (frame, session);
            self.tails.clear();
        }
        if frame.width == 0 || frame.height == 0 {
            return;
        }
        let sizes = Sizes::new(frame, options.scale, options.line_width);
        self.typesetter.set_look(sizes, frame.width);
        self.places.clear();
        let subjects = subjects(frame, regions, options, scene);
        self.draw_tails(&subjects, sizes, options, scene);
        if options.style.has(Part::Boxes) {
            subjects.iter().for_each(|subject| outline(subject, sizes.line, &mut scene.pieces));
        }
        let has_room = self.typesetter.plate_height().saturating_mul(PLATES_IN_FRAME) <= frame.height;
        if has_room {
            let line = note
                .filter(|_| options.style.has(Part::Status))
                .and_then(|note| self.typesetter.plate(self.status.line(note, now)));
            let line = line.and_then(|plate| self.place_status(plate, sizes));
            subjects.iter().for_each(|subject| self.label(subject, options, scene));
            scene.pieces.extend(line);
        }
        scene.drawn = subjects.len() as u64;
    }

    fn draw_tails(
        &mut self,
        subjects: &[Subject<'_, '_>],
        sizes: Sizes,
        options: &Options,
        scene: &mut Scene,
    ) {
        if !options.style.has(Part::Tails) || options.tail_length == 0 {
            self.tails.clear();
            return;
        }
        let look = TailLook { frame: self.frame, line: sizes.line, length: options.tail_length };
        self.tails.begin_frame(options.tail_length);
        for Subject { region, color, .. } in subjects {
            if let Some(track) = region.track {
                self.tails.follow(track.id, &region.box_in_frame.clamped(self.frame), *color, look);
            }
        }
        scene.left_out += self.tails.draw(look, &mut scene.pieces);
    }

    /// The status line in its corner, which no label takes.
    fn place_status(&mut self, plate: Arc<Mask>, sizes: Sizes) -> Option<Piece> {
        let margin = sizes.padding;
        let x = margin.min(self.frame.width.checked_sub(plate.width)?);
        let place = Area { x, y: margin, width: plate.width, height: plate.height };
        self.places.take(place);
        Some(on_plate(place, plate, Rgb::WHITE, Rgb::BLACK))
    }

    fn label(&mut self, subject: &Subject<'_, '_>, options: &Options, scene: &mut Scene) {
        self.text.clear();
        write_label(&mut self.text, subject.region, options.style);
        let Some(plate) = self.typesetter.plate(&self.text) else { return };
        let size = Size::new(plate.width, plate.height);
        let Some(place) = self.places.place(self.frame, subject.area, size) else { return };
        scene.pieces.push(on_plate(place, plate, subject.color.contrast(), subject.color));
    }
}

/// The regions that are drawn; the rest is counted.
fn subjects<'a, 'b>(
    frame: Size,
    regions: &'b [Region<'a>],
    options: &Options,
    scene: &mut Scene,
) -> Vec<Subject<'a, 'b>> {
    let mut subjects = Vec::with_capacity(regions.len().min(MAX_DRAWN));
    for region in regions {
        let is_gone = region.track.is_some_and(|track| track.state == TrackState::Lost);
        if is_gone || region.confidence.is_some_and(|confidence| confidence < options.min_confidence) {
            continue;
        }
        let area = pixels(region, frame).filter(|_| subjects.len() < MAX_DRAWN);
        match area {
            Some(area) => subjects.push(Subject { region, area, color: options.palette.color(region) }),
            None => scene.left_out += 1,
        }
    }
    subjects
}

/// The pixels that the box touches; `None` if it is no box, or outside.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped into the frame")]
fn pixels(region: &Region<'_>, frame: Size) -> Option<Area> {
    if !region.box_in_frame.is_finite() {
        return None;
    }
    let inside = region.box_in_frame.clamped(frame);
    let (x, y) = (inside.x_min.floor() as u32, inside.y_min.floor() as u32);
    let (right, bottom) = (inside.x_max.ceil() as u32, inside.y_max.ceil() as u32);
    let (width, height) = (right.checked_sub(x)?, bottom.checked_sub(y)?);
    (width > 0 && height > 0 && right <= frame.width && bottom <= frame.height).then_some(Area {
        x,
        y,
        width,
        height,
    })
}

/// The box, one piece a side, so that nothing is as large as the box; of a predicted one the corners only.
fn outline(subject: &Subject<'_, '_>, line: u32, pieces: &mut Vec<Piece>) {
    let Area { x, y, width, height } = subject.area;
    let mut fill = |x, y, width, height| {
        if width > 0 && height > 0 {
            pieces.push(Piece { x, y, width, height, ink: subject.color, ground: None, cover: Cover::Full });
        }
    };
    if width <= 2 * line || height <= 2 * line {
        return fill(x, y, width, height);
    }
    let (right, bottom) = (x + width - line, y + height - line);
    let between = height - 2 * line;
    let is_coasted = subject.region.track.is_some_and(|track| track.state == TrackState::Coasted);
    if !is_coasted {
        fill(x, y, width, line);
        fill(x, bottom, width, line);
        fill(x, y + line, line, between);
        fill(right, y + line, line, between);
        return;
    }
    let arm = (width.min(height) / 4).max(line);
    for y in [y, bottom] {
        fill(x, y, arm, line);
        fill(x + width - arm, y, arm, line);
    }
    let arm = (arm - line).min(between);
    for x in [x, right] {
        fill(x, y + line, line, arm);
        fill(x, bottom - arm, line, arm);
    }
}

fn on_plate(place: Area, plate: Arc<Mask>, ink: Rgb, ground: Rgb) -> Piece {
    let Area { x, y, width, height } = place;
    Piece { x, y, width, height, ink, ground: Some(ground), cover: Cover::Mask(plate) }
}

/// `#12 person 87%  standing 64%`, as far as it is known and asked for.
fn write_label(text: &mut String, region: &Region<'_>, style: Style) {
    if let Some(track) = region.track.filter(|_| style.has(Part::Ids)) {
        // A string takes everything.
        write!(text, "#{}", track.id).ok();
    }
    if style.has(Part::Labels) {
        write_answer(text, " ", region.label, region.confidence);
    }
    if style.has(Part::Attributes) {
        for attribute in &region.attributes {
            write_answer(text, "  ", attribute.label, attribute.confidence);
        }
    }
}

fn write_answer(text: &mut String, before: &str, label: &str, confidence: Option<f32>) {
    let mut before = if text.is_empty() { "" } else { before };
    if !label.is_empty() {
        text.push_str(before);
        text.push_str(first(label));
        before = " ";
    }
    if let Some(confidence) = confidence.filter(|confidence| confidence.is_finite()) {
        write!(text, "{before}{:.0}%", confidence.clamp(0.0, 1.0) * 100.0).ok();
    }
}

/// As much of a text as could be shown; what is behind it need not be copied.
fn first(text: &str) -> &str {
    const MOST: usize = 64;
    let end = text.floor_char_boundary(MOST);
    text.get(..end).unwrap_or_default()
}
