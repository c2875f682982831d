//! Where tracks have been: a line behind each, which fades with age.

use super::color::Rgb;
use super::{Cover, Mask, Piece};
use crate::vision::{Rect, Size};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most tracks remembered; of more, those seen longest ago are forgotten.
const MAX_TRACKS: usize = 1024;
/// Most points of a track.
const MAX_POINTS: usize = 64;
/// A larger step, as a part of the frame's longer side, is no movement: the line begins anew.
const LONGEST_STEP: f32 = 0.2;
/// A piece of a tail is about so many pixels at most, times the square of the width of the line: long tails are many
/// small pieces, not one as large as the frame.
const PIECE_AREA: f32 = 1024.0;
/// Opacity of the oldest and of the newest part.
const FAINTEST: f32 = 60.0;
const STRONGEST: f32 = 235.0;

#[derive(Clone, Copy, Debug)]
struct Point {
    x: f32,
    y: f32,
    /// Number of the frame.
    frame: u64,
}

#[derive(Debug)]
struct Tail {
    points: VecDeque<Point>,
    color: Rgb,
    seen: u64,
}

/// The tails of one stream.
#[derive(Debug, Default)]
pub(super) struct Tails {
    tails: BTreeMap<i64, Tail>,
    frame: u64,
}

/// What a tail looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct TailLook {
    pub(super) frame: Size,
    /// Width of the line, in pixels.
    pub(super) line: u32,
    /// After so many frames a point is forgotten.
    pub(super) length: u32,
}

impl Tails {
    pub(super) fn clear(&mut self) {
        self.tails.clear();
    }

    /// The next frame: what is too old goes.
    pub(super) fn begin_frame(&mut self, length: u32) {
        self.frame += 1;
        let oldest = self.frame.saturating_sub(length.into());
        self.tails.retain(|_, tail| {
            while tail.points.front().is_some_and(|point| point.frame < oldest) {
                tail.points.pop_front();
            }
            !tail.points.is_empty()
        });
    }

    /// The track is here on this frame. The foot of its box is what leaves a tail.
    pub(super) fn follow(&mut self, id: i64, box_in_frame: &Rect, color: Rgb, look: TailLook) {
        if self.tails.len() >= MAX_TRACKS && !self.tails.contains_key(&id) {
            self.forget_one();
        }
        let tail = self.tails.entry(id).or_insert_with(|| Tail { points: VecDeque::new(), color, seen: 0 });
        (tail.color, tail.seen) = (color, self.frame);
        let x = f32::midpoint(box_in_frame.x_min, box_in_frame.x_max);
        let new = Point { x, y: box_in_frame.y_max, frame: self.frame };
        let distance = |point: &Point| (point.x - new.x).hypot(point.y - new.y);
        let side = look.frame.width.max(look.frame.height) as f32;
        if tail.points.back().is_some_and(|last| distance(last) > LONGEST_STEP * side) {
            tail.points.clear();
        }
        // The head moves with the track; a point stays behind only after a step that can be seen.
        let before_head = tail.points.len().checked_sub(2).and_then(|at| tail.points.get(at));
        if before_head.is_some_and(|point| distance(point) < 3.0 * look.line as f32) {
            tail.points.pop_back();
        }
        if tail.points.len() >= MAX_POINTS {
            tail.points.pop_front();
        }
        tail.points.push_back(new);
    }

    fn forget_one(&mut self) {
        if let Some(id) = self.tails.iter().min_by_key(|(_, tail)| tail.seen).map(|(id, _)| *id) {
            self.tails.remove(&id);
        }
    }

    /// Adds the tails; returns how many were left out because all of them together were too large.
    pub(super) fn draw(&self, look: TailLook, pieces: &mut Vec<Piece>) -> u64 {
        // Twice what the frame has: real tails are far below it.
        let mut budget = 2.0 * look.frame.width as f32 * look.frame.height as f32 + PIECE_AREA;
        let mut left_out = 0;
        for tail in self.tails.values() {
            if budget < 0.0 {
                left_out += 1;
                continue;
            }
            budget -= self.draw_one(tail, look, pieces);
        }
        left_out
    }

    /// Returns how many pixels were looked at.
    fn draw_one(&self, tail: &Tail, look: TailLook, pieces: &mut Vec<Piece>) -> f32 {
        let radius = look.line as f32 / 2.0;
        let most = PIECE_AREA * (look.line * look.line) as f32;
        let mut area = 0.0;
        let mut part: Vec<Segment> = Vec::new();
        let mut bounds = Rect::default();
        for (from, to) in tail.points.iter().zip(tail.points.iter().skip(1)) {
            let age = self.frame.saturating_sub(to.frame) as f32 / look.length.max(1) as f32;
            let level = STRONGEST + (FAINTEST - STRONGEST) * age.clamp(0.0, 1.0);
            let segment = Segment { from: (from.x, from.y), to: (to.x, to.y), level };
            let own = segment.bounds(radius);
            let together = if part.is_empty() { own } else { union(&bounds, &own) };
            if !part.is_empty() && together.area() > most {
                area += finish(&mut part, &bounds, tail.color, look, pieces);
                bounds = own;
            } else {
                bounds = together;
            }
            area += own.area();
            part.push(segment);
        }
        area + finish(&mut part, &bounds, tail.color, look, pieces)
    }
}

fn union(a: &Rect, b: &Rect) -> Rect {
    Rect {
        x_min: a.x_min.min(b.x_min),
        y_min: a.y_min.min(b.y_min),
        x_max: a.x_max.max(b.x_max),
        y_max: a.y_max.max(b.y_max),
    }
}

/// A straight part of a tail.
#[derive(Clone, Copy, Debug)]
struct Segment {
    from: (f32, f32),
    to: (f32, f32),
    level: f32,
}

impl Segment {
    fn bounds(&self, radius: f32) -> Rect {
        let margin = radius + 1.0;
        Rect {
            x_min: (self.from.0.min(self.to.0) - margin).floor(),
            y_min: (self.from.1.min(self.to.1) - margin).floor(),
            x_max: (self.from.0.max(self.to.0) + margin).ceil(),
            y_max: (self.from.1.max(self.to.1) + margin).ceil(),
        }
    }

    /// From where to where the line may cover pixels whose centres are at `y`.
    fn reach(&self, y: f32, radius: f32) -> (f32, f32) {
        let margin = radius + 1.0;
        let (dx, dy) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        let along = |y: f32| ((y - self.from.1) / dy).clamp(0.0, 1.0);
        let (one, other) = if dy.abs() < 1e-3 { (0.0, 1.0) } else { (along(y - margin), along(y + margin)) };
        let (one, other) = (self.from.0 + one * dx, self.from.0 + other * dx);
        (one.min(other) - margin, one.max(other) + margin)
    }

    /// How much of the pixel with this centre is covered.
    fn coverage(&self, x: f32, y: f32, radius: f32) -> f32 {
        let (dx, dy) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
        let length = dx * dx + dy * dy;
        let along = ((x - self.from.0) * dx + (y - self.from.1) * dy) / length.max(f32::MIN_POSITIVE);
        let along = along.clamp(0.0, 1.0);
        let (off_x, off_y) = (self.from.0 + along * dx - x, self.from.1 + along * dy - y);
        let distance = (off_x * off_x + off_y * off_y).sqrt();
        (radius + 0.5 - distance).clamp(0.0, 1.0) * self.level
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped into the frame; casts saturate"
)]
fn finish(part: &mut Vec<Segment>, bounds: &Rect, ink: Rgb, look: TailLook, pieces: &mut Vec<Piece>) -> f32 {
    let bounds = bounds.clamped(look.frame);
    let (x, y) = (bounds.x_min as u32, bounds.y_min as u32);
    let (width, height) = (bounds.width() as u32, bounds.height() as u32);
    if width == 0 || height == 0 {
        part.clear();
        return 0.0;
    }
    let mut coverage = vec![0; width as usize * height as usize];
    let radius = look.line as f32 / 2.0;
    for segment in part.drain(..) {
        let own = segment.bounds(radius).clamped(look.frame);
        let rows = (own.y_min as u32).saturating_sub(y)..(own.y_max as u32).saturating_sub(y).min(height);
        for row in rows {
            let start = row as usize * width as usize;
            let center_y = (y + row) as f32 + 0.5;
            let (left, right) = segment.reach(center_y, radius);
            let columns = (left as u32).saturating_sub(x)..(right.ceil() as u32).saturating_sub(x).min(width);
            let range = start + columns.start as usize..start + columns.end as usize;
            let Some(levels) = coverage.get_mut(range) else { continue };
            for (column, level) in columns.clone().zip(levels) {
                let covered = segment.coverage((x + column) as f32 + 0.5, center_y, radius);
                *level = (*level).max(covered as u8);
            }
        }
    }
    let cover = Cover::Mask(Arc::new(Mask { width, height, coverage: coverage.into_boxed_slice() }));
    pieces.push(Piece { x, y, width, height, ink, ground: None, cover });
    bounds.area()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: TailLook = TailLook { frame: Size::new(200, 100), line: 2, length: 10 };

    fn follow(tails: &mut Tails, id: i64, x: f32) {
        let box_in_frame = Rect::from_corners(x - 5.0, 20.0, x + 5.0, 50.0);
        tails.follow(id, &box_in_frame, Rgb(1, 2, 3), LOOK);
    }

    fn drawn(tails: &Tails) -> Vec<Piece> {
        let mut pieces = Vec::new();
        assert_eq!(tails.draw(LOOK, &mut pieces), 0);
        pieces
    }

    fn level_at(pieces: &[Piece], x: u32, y: u32) -> u8 {
        let of = |piece: &Piece| {
            let Cover::Mask(mask) = &piece.cover else { return None };
            let (column, row) = (x.checked_sub(piece.x)?, y.checked_sub(piece.y)?);
            (column < mask.width && row < mask.height)
                .then(|| mask.coverage[(row * mask.width + column) as usize])
        };
        pieces.iter().filter_map(of).max().unwrap_or(0)
    }

    #[test]
    fn a_tail_follows_the_foot_of_its_box_and_fades() {
        let mut tails = Tails::default();
        for step in 0_u8..8 {
            tails.begin_frame(LOOK.length);
            follow(&mut tails, 1, 20.0 + 10.0 * f32::from(step));
        }
        let pieces = drawn(&tails);
        let (old, new) = (level_at(&pieces, 25, 50), level_at(&pieces, 85, 50));
        assert!(old > 40 && new > old, "{old} {new}");
        assert_eq!((level_at(&pieces, 25, 40), level_at(&pieces, 110, 50)), (0, 0));
    }

    #[test]
    fn a_tail_outlives_its_track_by_its_length() {
        let mut tails = Tails::default();
        for x in [20.0, 30.0] {
            tails.begin_frame(LOOK.length);
            follow(&mut tails, 1, x);
        }
        assert_eq!(drawn(&tails).len(), 1);
        for _ in 0..=LOOK.length {
            tails.begin_frame(LOOK.length);
        }
        assert!(drawn(&tails).is_empty() && tails.tails.is_empty());
    }

    #[test]
    fn a_leap_is_no_movement() {
        let mut tails = Tails::default();
        for x in [10.0, 190.0] {
            tails.begin_frame(LOOK.length);
            follow(&mut tails, 1, x);
        }
        assert!(drawn(&tails).is_empty());
    }

    #[test]
    fn what_stands_still_has_one_point_to_spare() {
        let mut tails = Tails::default();
        for _ in 0..1000 {
            tails.begin_frame(1000);
            follow(&mut tails, 1, 20.0);
        }
        assert!(tails.tails[&1].points.len() <= 2);
    }

    #[test]
    fn tracks_points_and_pixels_are_bounded() {
        let mut tails = Tails::default();
        for frame in 0_u16..80 {
            tails.begin_frame(10_000);
            let x = [10.0, 45.0, 80.0, 115.0, 150.0, 115.0, 80.0, 45.0][usize::from(frame % 8)];
            (0..1000).for_each(|id| follow(&mut tails, id, x));
        }
        (1000..1100).for_each(|id| follow(&mut tails, id, 10.0));
        assert!(tails.tails.len() <= MAX_TRACKS);
        assert!(tails.tails.values().all(|tail| tail.points.len() <= MAX_POINTS));
        let mut pieces = Vec::new();
        assert!(tails.draw(LOOK, &mut pieces) > 0, "some are left out");
    }
}
