//! Where plates go: inside the frame, near their box, and if it can be had not on another plate.

use crate::vision::Size;

/// Plates that are looked at to find a free place: beyond it nothing can be read anyway.
const MAX_LOOKED_AT: usize = 256;

/// Whole pixels of the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Area {
    fn right(self) -> u32 {
        self.x.saturating_add(self.width)
    }

    fn bottom(self) -> u32 {
        self.y.saturating_add(self.height)
    }

    fn overlaps(self, other: Self) -> bool {
        self.x < other.right() && other.x < self.right() && self.y < other.bottom() && other.y < self.bottom()
    }
}

/// Gives places on one frame.
#[derive(Debug, Default)]
pub(super) struct Places {
    taken: Vec<Area>,
}

impl Places {
    pub(super) fn clear(&mut self) {
        self.taken.clear();
    }

    /// Takes a place, free or not.
    pub(super) fn take(&mut self, area: Area) {
        if self.taken.len() < MAX_LOOKED_AT {
            self.taken.push(area);
        }
    }

    /// A place for a plate of `plate` at `target`: above it, in it, below it. `None` if the plate is larger than the frame.
    pub(super) fn place(&mut self, frame: Size, target: Area, plate: Size) -> Option<Area> {
        let (most_x, most_y) =
            (frame.width.checked_sub(plate.width)?, frame.height.checked_sub(plate.height)?);
        let at = |y: u32| Area { x: target.x.min(most_x), y, width: plate.width, height: plate.height };
        let candidates = [
            target.y.checked_sub(plate.height),
            Some(target.y),
            Some(target.bottom()),
            target.bottom().checked_sub(plate.height),
        ];
        let mut candidates = candidates
            .into_iter()
            .flatten()
            .filter(|y| *y <= most_y)
            .map(at)
            .collect::<smallvec::SmallVec<[_; 4]>>();
        if candidates.is_empty() {
            candidates.push(at(most_y));
        }
        let is_free = |area: &&Area| !self.taken.iter().any(|taken| taken.overlaps(**area));
        let place = candidates.iter().find(is_free).or_else(|| candidates.first()).copied()?;
        self.take(place);
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: Size = Size::new(100, 80);
    const PLATE: Size = Size::new(30, 10);

    fn area(x: u32, y: u32) -> Area {
        Area { x, y, width: 20, height: 40 }
    }

    #[test]
    fn a_plate_is_above_its_box_or_in_it_at_the_top_of_the_frame() {
        let place = |target| Places::default().place(FRAME, target, PLATE).map(|place| (place.x, place.y));
        assert_eq!(place(area(10, 30)), Some((10, 20)));
        assert_eq!(place(area(10, 5)), Some((10, 5)));
        assert_eq!(place(area(90, 30)), Some((70, 20)), "at the right side");
        assert_eq!(Places::default().place(FRAME, area(0, 0), Size::new(101, 10)), None);
    }

    #[test]
    fn plates_of_boxes_at_one_place_do_not_cover_each_other() {
        let mut places = Places::default();
        let found: Vec<_> = (0..4).filter_map(|_| places.place(FRAME, area(10, 20), PLATE)).collect();
        for (index, one) in found.iter().enumerate() {
            assert!(found.iter().skip(index + 1).all(|other| !one.overlaps(*other)), "{found:?}");
        }
        assert!(places.place(FRAME, area(10, 20), PLATE).is_some(), "a fifth is drawn all the same");
    }

    proptest! {
        #[test]
        fn a_plate_lies_in_the_frame(
            (x, y, width, height) in (0_u32..200, 0_u32..200, any::<u32>(), any::<u32>()),
            plate in (0_u32..120, 0_u32..100),
        ) {
            let place = Places::default().place(
                FRAME,
                Area { x, y, width, height },
                Size::new(plate.0, plate.1),
            );
            if let Some(place) = place {
                prop_assert!(place.right() <= FRAME.width && place.bottom() <= FRAME.height);
            } else {
                prop_assert!(plate.0 > FRAME.width || plate.1 > FRAME.height);
            }
        }
    }
}
