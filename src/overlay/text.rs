//! Text on plates.
//!
//! Characters the font does not have are drawn as its empty box; those that move or break lines as a space.

use super::Mask;
use super::cache::Cache;
use super::sizes::Sizes;
use ab_glyph::{Font as _, FontRef, ScaleFont as _};
use std::sync::Arc;

static FONT: &[u8] = include_bytes!("font/DejaVuSansCondensed-Bold.ttf");

/// Most characters of a text that are looked at.
const MAX_CHARS: usize = 96;
const ELLIPSIS: char = '…';
/// Half of what the caches keep.
const GLYPHS: usize = 256;
const PLATES: usize = 256;

/// One character at the size in use.
#[derive(Debug)]
struct Glyph {
    /// Pixels to the next character.
    advance: f32,
    /// From the pen, which is at the baseline, to the top left corner.
    left: i32,
    top: i32,
    mask: Mask,
}

/// What plates look like.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    em: f32,
    padding: u32,
    max_width: u32,
}

/// Sets text, and keeps what it has set.
#[derive(Debug)]
pub(super) struct Typesetter {
    /// `None` would be a broken font: then there is no text.
    font: Option<FontRef<'static>>,
    look: Look,
    glyphs: Cache<char, Arc<Glyph>>,
    plates: Cache<Box<str>, Arc<Mask>>,
}

impl Default for Typesetter {
    fn default() -> Self {
        Self {
            font: FontRef::try_from_slice(FONT).ok(),
            look: Look { em: 0.0, padding: 0, max_width: 0 },
            glyphs: Cache::new(GLYPHS),
            plates: Cache::new(PLATES),
        }
    }
}

impl Typesetter {
    /// Sets text of these sizes from now on, on plates no wider than `max_width`.
    pub(super) fn set_look(&mut self, sizes: Sizes, max_width: u32) {
        let look = Look { em: sizes.em, padding: sizes.padding, max_width };
        if self.look != look {
            self.look = look;
            self.glyphs.clear();
            self.plates.clear();
        }
    }

    /// Height of every plate.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an em has bounds")]
    pub(super) fn plate_height(&self) -> u32 {
        let (ascent, descent) = self.extent();
        (ascent + descent) as u32 + self.look.padding
    }

    /// The plate with this text; the covered part is the text. `None` if there is nothing to see.
    pub(super) fn plate(&mut self, text: &str) -> Option<Arc<Mask>> {
        if text.is_empty() {
            return None;
        }
        // A long text would be a long key.
        let end = text.char_indices().nth(MAX_CHARS).map_or(text.len(), |(at, _)| at);
        let key = text.get(..end)?;
        if let Some(plate) = self.plates.get(key) {
            return Some(plate);
        }
        let plate = Arc::new(self.set(key, end < text.len())?);
        self.plates.put(key.into(), Arc::clone(&plate));
        Some(plate)
    }

    /// Whole pixels over and under the baseline.
    fn extent(&self) -> (f32, f32) {
        // Of capitals with accents, and of letters that hang: as parts of an em, for the font in use.
        let em = self.look.em;
        ((0.80 * em).ceil(), (0.22 * em).ceil())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the width of a plate"
    )]
    fn set(&mut self, text: &str, is_cut: bool) -> Option<Mask> {
        let Look { padding, max_width, .. } = self.look;
        let room = max_width.checked_sub(2 * padding)? as f32;
        let mut glyphs = Vec::with_capacity(text.len());
        let (mut width, mut is_cut) = (0.0, is_cut);
        for character in text.chars() {
            let glyph = self.glyph(character)?;
            if width + glyph.advance > room {
                is_cut = true;
                break;
            }
            width += glyph.advance;
            glyphs.push(glyph);
        }
        if is_cut {
            let ellipsis = self.glyph(ELLIPSIS)?;
            while width + ellipsis.advance > room {
                width -= glyphs.pop()?.advance;
            }
            width += ellipsis.advance;
            glyphs.push(ellipsis);
        }
        let mut plate = empty(width.ceil() as u32 + 2 * padding, self.plate_height());
        let (ascent, _) = self.extent();
        let baseline = ascent as i32 + i32::try_from(padding / 2).unwrap_or(0);
        let mut pen = padding as f32;
        for glyph in glyphs {
            draw(&glyph, &mut plate, pen.round() as i32, baseline);
            pen += glyph.advance;
        }
        Some(plate)
    }

    fn glyph(&mut self, character: char) -> Option<Arc<Glyph>> {
        let character = if character.is_control() || character.is_whitespace() { ' ' } else { character };
        if let Some(glyph) = self.glyphs.get(&character) {
            return Some(glyph);
        }
        let glyph = Arc::new(rasterised(self.font.as_ref()?, self.look.em, character));
        self.glyphs.put(character, Arc::clone(&glyph));
        Some(glyph)
    }
}

fn empty(width: u32, height: u32) -> Mask {
    Mask { width, height, coverage: vec![0; width as usize * height as usize].into_boxed_slice() }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an em has bounds; casts saturate"
)]
fn rasterised(font: &FontRef<'static>, em: f32, character: char) -> Glyph {
    // The crate counts in heights of a line.
    let units = font.units_per_em().filter(|units| *units > 0.0).unwrap_or(1000.0);
    let scaled = font.as_scaled(em * font.height_unscaled() / units);
    let id = scaled.glyph_id(character);
    let advance = scaled.h_advance(id).clamp(0.0, 4.0 * em);
    let Some(outline) = scaled.outline_glyph(scaled.scaled_glyph(character)) else {
        return Glyph { advance, left: 0, top: 0, mask: Mask::default() };
    };
    let bounds = outline.px_bounds();
    let side = |length: f32| length.clamp(0.0, 4.0 * em).ceil() as u32;
    let mut mask = empty(side(bounds.width()), side(bounds.height()));
    let width = mask.width as usize;
    outline.draw(|x, y, covered| {
        let at = y as usize * width + x as usize;
        if let Some(level) = mask.coverage.get_mut(at).filter(|_| (x as usize) < width) {
            *level = (covered * 255.0).round() as u8;
        }
    });
    Glyph { advance, left: bounds.min.x as i32, top: bounds.min.y as i32, mask }
}

/// Adds the glyph to the plate, with its pen at `x` and the baseline at `y`. What would lie outside is left out.
fn draw(glyph: &Glyph, plate: &mut Mask, x: i32, y: i32) {
    let plate_width = plate.width as usize;
    if glyph.mask.width == 0 {
        return;
    }
    for (row, levels) in (0_i32..).zip(glyph.mask.coverage.chunks_exact(glyph.mask.width as usize)) {
        let Ok(row) = usize::try_from(y + glyph.top + row) else { continue };
        for (column, level) in (0_i32..).zip(levels) {
            let Ok(column) = usize::try_from(x + glyph.left + column) else { continue };
            let at = row * plate_width + column;
            if let Some(pixel) = plate.coverage.get_mut(at).filter(|_| column < plate_width) {
                *pixel = (*pixel).max(*level);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Size;
    use proptest::prelude::*;

    fn typesetter(max_width: u32) -> Typesetter {
        let mut typesetter = Typesetter::default();
        typesetter.set_look(Sizes::new(Size::new(640, 480), 1.0, 0), max_width);
        typesetter
    }

    #[test]
    fn a_text_is_set_once() {
        let mut typesetter = typesetter(640);
        let first = typesetter.plate("person 87%").unwrap();
        assert!(Arc::ptr_eq(&first, &typesetter.plate("person 87%").unwrap()));
        assert!(first.coverage.contains(&255) && first.coverage.contains(&0));
        assert_eq!(first.height, typesetter.plate_height());
    }

    #[test]
    fn letters_stand_clear_of_the_sides_of_their_plate() {
        for (side, scale) in [(240, 1.0), (480, 1.0), (1080, 1.0), (2160, 1.0), (480, 3.0)] {
            let mut typesetter = Typesetter::default();
            typesetter.set_look(Sizes::new(Size::new(side, side), scale, 0), 10_000);
            let plate = typesetter.plate("Elevator (jpq) #12 100%").unwrap();
            let width = plate.width as usize;
            let rows: Vec<_> = plate.coverage.chunks_exact(width).collect();
            for row in &rows {
                assert!(row[0] < 32 && row[width - 1] < 32, "{side}");
            }
            let strong = |row: &[u8]| row.iter().filter(|level| **level > 200).count();
            assert_eq!((strong(rows[0]), strong(rows[rows.len() - 1])), (0, 0), "{side}");
        }
    }

    #[test]
    fn a_long_text_ends_in_an_ellipsis_within_the_width() {
        let mut typesetter = typesetter(100);
        let plate = typesetter.plate(&"W".repeat(10_000)).unwrap();
        assert!((50..=100).contains(&plate.width), "{}", plate.width);
        assert!(self::typesetter(3).plate("person").is_none(), "no room for any text");
    }

    #[test]
    fn unknown_characters_are_boxes() {
        let mut typesetter = typesetter(640);
        let box_ = typesetter.plate("猫").unwrap();
        assert_eq!(box_, typesetter.plate("犬").unwrap());
        assert!(box_.coverage.iter().any(|level| *level > 100));
    }

    #[test]
    fn caches_are_bounded() {
        let mut typesetter = typesetter(640);
        for number in 0..5000_u32 {
            let character = char::from_u32(0x4e00 + number).unwrap();
            typesetter.plate(&format!("{number}{character}"));
        }
        assert!(typesetter.plates.len() <= 2 * PLATES && typesetter.glyphs.len() <= 2 * GLYPHS);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_fits(text in "\\PC{0,200}|.{0,200}", max_width in 0_u32..800, side in 1_u32..3000) {
            let mut typesetter = Typesetter::default();
            typesetter.set_look(Sizes::new(Size::new(side, side), 1.0, 0), max_width);
            if let Some(plate) = typesetter.plate(&text) {
                prop_assert!(plate.width <= max_width + 1 && plate.height == typesetter.plate_height());
                prop_assert_eq!(plate.coverage.len(), plate.width as usize * plate.height as usize);
            }
        }
    }
}
