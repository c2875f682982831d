//! Colours that stay with a class or with a track.

use super::Region;

/// Red, green and blue, 0 to 255 each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    pub(super) const BLACK: Self = Self(0, 0, 0);
    pub(super) const WHITE: Self = Self(255, 255, 255);

    /// This colour with so much of `other` in it: 0 none, 255 nothing else.
    #[must_use]
    pub fn mixed(self, other: Self, level: u8) -> Self {
        Self(
            mix(self.0, other.0, level.into()),
            mix(self.1, other.1, level.into()),
            mix(self.2, other.2, level.into()),
        )
    }

    /// Black or white, whichever is easier to read on this colour.
    pub(super) fn contrast(self) -> Self {
        // Luma of ITU-R BT.601, in thousandths.
        let luma = 299 * u32::from(self.0) + 587 * u32::from(self.1) + 114 * u32::from(self.2);
        if luma > 120_000 { Self::BLACK } else { Self::WHITE }
    }
}

/// From `a` at 0 to `b` at 255, rounded.
pub(super) fn mix(a: u8, b: u8, level: u32) -> u8 {
    let level = level.min(255);
    let sum = u32::from(a) * (255 - level) + u32::from(b) * level + 127;
    // A division by 255, exact for sums below 65536.
    u8::try_from((sum + 1 + (sum >> 8)) >> 8).unwrap_or(u8::MAX)
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// For the class.
    Class,
    /// For the track; for the class where there is none.
    #[default]
    Track,
}

/// Bright enough to be seen on dark video, full enough to be seen on bright video; neighbours differ most.
const COLORS: [Rgb; 16] = [
    Rgb(0x3c, 0xd4, 0x4b),
    Rgb(0xff, 0x85, 0x1b),
    Rgb(0x33, 0xc8, 0xff),
    Rgb(0xf0, 0x32, 0xe6),
    Rgb(0xff, 0xe1, 0x19),
    Rgb(0x4d, 0x7c, 0xff),
    Rgb(0xff, 0x3b, 0x4e),
    Rgb(0xb8, 0xf0, 0x30),
    Rgb(0xb4, 0x5b, 0xff),
    Rgb(0x20, 0xd0, 0xb0),
    Rgb(0xff, 0x8f, 0xb8),
    Rgb(0xd9, 0xa0, 0x66),
    Rgb(0x9d, 0xff, 0xc0),
    Rgb(0xcf, 0xb0, 0xff),
    Rgb(0xff, 0x9e, 0x80),
    Rgb(0x80, 0xb0, 0xff),
];

impl Palette {
    /// The colour of a region.
    pub(super) fn color(self, region: &Region<'_>) -> Rgb {
        match (self, region.track, region.class) {
            (Self::Track, Some(track), _) => of_number(track.id.unsigned_abs()),
            (_, _, Some(class)) => of_number(class.into()),
            _ => of_number(hash(region.label)),
        }
    }
}

fn of_number(number: u64) -> Rgb {
    let count = COLORS.len() as u64;
    let index = usize::try_from(number % count).unwrap_or_default();
    COLORS.get(index).copied().unwrap_or(Rgb::WHITE)
}

/// FNV-1a: the same in every process.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overlay::Track;

    #[test]
    fn a_track_has_its_colour_and_neighbours_have_another() {
        let region = |id| Region {
            label: "person",
            class: Some(3),
            track: Some(Track { id, ..Track::default() }),
            ..Region::default()
        };
        assert_eq!(Palette::Track.color(&region(7)), Palette::Track.color(&region(7)));
        assert_ne!(Palette::Track.color(&region(7)), Palette::Track.color(&region(8)));
        assert_eq!(Palette::Class.color(&region(7)), Palette::Class.color(&region(8)));
        for id in [i64::MIN, -1, 0, i64::MAX] {
            Palette::Track.color(&region(id));
        }
    }

    #[test]
    fn a_class_without_a_number_is_told_by_its_name() {
        let of = |label| Palette::Class.color(&Region { label, ..Region::default() });
        assert_eq!(of("person"), of("person"));
        assert_ne!(of("person"), of("car"));
    }

    #[test]
    fn text_differs_from_its_plate() {
        for color in COLORS {
            let Rgb(r, g, b) = color;
            let luma = (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) / 1000;
            let ink = u32::from(color.contrast().0);
            assert!(luma.abs_diff(ink) > 100, "{color:?}");
        }
    }

    #[test]
    fn mixing_ends_at_its_ends() {
        for (a, b) in [(0, 255), (255, 0), (7, 9), (200, 200)] {
            assert_eq!((mix(a, b, 0), mix(a, b, 255)), (a, b));
        }
    }

    #[test]
    fn mixing_rounds_to_the_nearest() {
        for (a, b, level) in (0..=255_u8).flat_map(|a| (0..=255_u32).map(move |level| (a, 255 - a, level))) {
            let sum = u32::from(a) * (255 - level) + u32::from(b) * level;
            assert_eq!(u32::from(mix(a, b, level)), (sum + 127) / 255, "{a} {b} {level}");
        }
    }
}
