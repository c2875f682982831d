//! Non-maximum suppression: of detections of one class that overlap, only the best stays.
//!
//! Greedy and class-aware. The result depends on nothing but its input: ties of confidence are broken by
//! class, then by the box, then by which was given first. It does not bound the number of candidates: the
//! decoders do that before they call it (see [`super::decode`]).

use std::cmp::Ordering;
use std::iter;

use super::{Detection, Rect};

/// The memory of suppression, kept between calls: a call with no more candidates than an earlier one
/// allocates nothing, provided the list for its result has room.
#[derive(Debug, Default)]
pub struct Suppression {
    /// The candidates, best first.
    order: Vec<Ranked>,
    /// Those kept.
    rivals: Vec<Rival>,
}

/// Lists of kept ones. Classes share a list if they leave the same rest: most models have no more classes
/// than this, and a class that shares one only costs a comparison.
const LISTS: usize = 64;

/// Beyond the last rival.
const NONE: usize = usize::MAX;

/// A candidate's confidence and where it stands among those given.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    confidence: f32,
    index: usize,
}

/// A kept one that later candidates are compared with.
#[derive(Clone, Copy, Debug)]
struct Rival {
    bbox: Rect,
    class: u32,
    /// The rival kept before it in the same list.
    next: usize,
}

impl Suppression {
    /// Moves to the end of `kept` the best `candidates` of each class that overlap no better one by more than
    /// `iou_threshold`. What is left in `candidates` has lost its order and landmarks.
    ///
    /// Order of the result: confidence, best first; then class; then the sides of the box. At most
    /// `max_detections` are moved. A candidate is dropped if its intersection over union with a kept one of
    /// its class is *greater* than `iou_threshold`, so a threshold of 1 (or NaN) drops none. Cost:
    /// candidates × kept ones of the same class.
    pub fn suppress(
        &mut self,
        candidates: &mut [Detection],
        iou_threshold: f32,
        max_detections: usize,
        kept: &mut Vec<Detection>,
    ) {
        self.rank(candidates);
        let Self { order, rivals } = self;
        rivals.clear();
        let mut newest = [NONE; LISTS];
        for candidate in order {
            if rivals.len() >= max_detections {
                break;
            }
            let Some(candidate) = candidates.get_mut(candidate.index) else { continue };
            let Detection { bbox, class, .. } = *candidate;
            let Some(newest) = newest.get_mut(class as usize % LISTS) else { continue };
            let mut list = iter::successors(rivals.get(*newest), |rival| rivals.get(rival.next));
            if list.any(|rival| rival.class == class && rival.bbox.iou(&bbox) > iou_threshold) {
                continue;
            }
            let next = std::mem::replace(newest, rivals.len());
            rivals.push(Rival { bbox, class, next });
            kept.push(take(candidate));
        }
    }

    /// Moves the `max_detections` best `candidates` to the end of `kept`, in the order of
    /// [`Suppression::suppress`], overlapping or not: for models that suppress inside their graph or need no
    /// suppression.
    pub fn best(&mut self, candidates: &mut [Detection], max_detections: usize, kept: &mut Vec<Detection>) {
        self.rank(candidates);
        for candidate in self.order.iter().take(max_detections) {
            kept.extend(candidates.get_mut(candidate.index).map(take));
        }
    }

    /// Orders the candidates. The order is full, so that an unstable sort, which needs no memory, does.
    fn rank(&mut self, candidates: &[Detection]) {
        let ranked = |(index, one): (usize, &Detection)| Ranked { confidence: one.confidence, index };
        self.order.clear();
        self.order.extend(candidates.iter().enumerate().map(ranked));
        self.order.sort_unstable_by(|a, b| {
            let tie = || candidates.get(a.index).zip(candidates.get(b.index));
            b.confidence
                .total_cmp(&a.confidence)
                .then_with(|| tie().map_or(Ordering::Equal, |(a, b)| by_class_and_box(a, b)))
                .then(a.index.cmp(&b.index))
        });
    }

    /// How much each list holds without another allocation.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 2] {
        [self.order.capacity(), self.rivals.capacity()]
    }
}

fn by_class_and_box(a: &Detection, b: &Detection) -> Ordering {
    (a.class.cmp(&b.class))
        .then_with(|| a.bbox.x_min.total_cmp(&b.bbox.x_min))
        .then_with(|| a.bbox.y_min.total_cmp(&b.bbox.y_min))
        .then_with(|| a.bbox.x_max.total_cmp(&b.bbox.x_max))
        .then_with(|| a.bbox.y_max.total_cmp(&b.bbox.y_max))
}

/// Moves a detection out of a list that is given up.
fn take(detection: &mut Detection) -> Detection {
    let Detection { bbox, class, confidence, landmarks } = detection;
    Detection { bbox: *bbox, class: *class, confidence: *confidence, landmarks: std::mem::take(landmarks) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vision::Landmarks;

    fn detection(class: u32, confidence: f32, corners: [f32; 4]) -> Detection {
        let [x_min, y_min, x_max, y_max] = corners;
        let bbox = Rect::from_corners(x_min, y_min, x_max, y_max);
        Detection { bbox, class, confidence, landmarks: Landmarks::new() }
    }

    fn suppress(mut candidates: Vec<Detection>, iou: f32, max: usize) -> Vec<Detection> {
        let mut kept = Vec::new();
        Suppression::default().suppress(&mut candidates, iou, max, &mut kept);
        kept
    }

    fn best(mut candidates: Vec<Detection>, max: usize) -> Vec<Detection> {
        let mut kept = Vec::new();
        Suppression::default().best(&mut candidates, max, &mut kept);
        kept
    }

    /// What the two should return, said as plainly as possible.
    fn reference(given: &[Detection], iou: Option<f32>, max: usize) -> Vec<Detection> {
        let mut sorted: Vec<_> = given.iter().collect();
        sorted.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(by_class_and_box(a, b)));
        let mut kept: Vec<Detection> = Vec::new();
        for one in sorted {
            let rival = |other: &Detection| {
                other.class == one.class && iou.is_some_and(|iou| other.bbox.iou(&one.bbox) > iou)
            };
            if kept.len() < max && !kept.iter().any(rival) {
                kept.push(one.clone());
            }
        }
        kept
    }

    #[test]
    fn of_two_that_overlap_the_better_stays() {
        let worse = detection(0, 0.6, [0.0, 0.0, 10.0, 10.0]);
        let better = detection(0, 0.9, [1.0, 0.0, 11.0, 10.0]);
        assert_eq!(suppress(vec![worse, better.clone()], 0.5, 10), vec![better]);
    }

    #[test]
    fn another_class_is_no_rival() {
        let person = detection(0, 0.9, [0.0, 0.0, 10.0, 10.0]);
        let bicycle = detection(1, 0.8, [0.0, 0.0, 10.0, 10.0]);
        let both = vec![person, bicycle];
        assert_eq!(suppress(both.clone(), 0.5, 10), both);
    }

    #[test]
    fn an_overlap_of_exactly_the_threshold_stays() {
        let left = detection(0, 0.9, [0.0, 0.0, 2.0, 1.0]);
        let inside = detection(0, 0.8, [0.0, 0.0, 1.0, 1.0]);
        assert_eq!(suppress(vec![left.clone(), inside], 0.5, 10).len(), 2);
        let same = detection(0, 0.8, left.bbox.into_corners());
        assert_eq!(suppress(vec![left, same], 0.5, 10).len(), 1);
    }

    #[test]
    fn at_most_max_detections_are_returned_and_none_if_it_is_zero() {
        let apart: Vec<_> = (0..9_u8)
            .map(|i| f32::from(i) * 20.0)
            .map(|x| detection(0, 0.5 + x / 1000.0, [x, 0.0, x + 10.0, 10.0]))
            .collect();
        let kept = suppress(apart.clone(), 0.5, 3);
        assert_eq!(kept.len(), 3);
        assert_eq!(kept.first(), apart.last());
        assert!(suppress(apart.clone(), 0.5, 0).is_empty());
        assert_eq!(best(apart, 3), kept);
    }

    #[test]
    fn equal_confidence_is_ordered_by_class_then_box() {
        let a = detection(0, 0.5, [5.0, 0.0, 6.0, 1.0]);
        let b = detection(1, 0.5, [0.0, 0.0, 1.0, 1.0]);
        let c = detection(1, 0.5, [0.0, 3.0, 1.0, 4.0]);
        let expected = vec![a.clone(), b.clone(), c.clone()];
        assert_eq!(suppress(vec![c.clone(), b.clone(), a.clone()], 0.5, 9), expected);
        assert_eq!(suppress(vec![b, a, c], 0.5, 9), expected);
    }

    #[test]
    fn thirty_thousand_boxes_that_do_not_overlap_finish() {
        let many: Vec<_> = (0..30_000_u16)
            .map(|i| (f32::from(i % 200), f32::from(i / 200)))
            .map(|(x, y)| detection(0, 0.5, [x, y, x + 1.0, y + 1.0]))
            .collect();
        assert_eq!(suppress(many, 0.5, 300).len(), 300);
    }

    #[test]
    fn what_is_kept_is_appended_and_a_second_call_allocates_nothing() {
        let given = [detection(0, 0.6, [0.0, 0.0, 10.0, 10.0]), detection(65, 0.9, [0.0, 0.0, 10.0, 10.0])];
        let (mut suppression, mut kept) = (Suppression::default(), Vec::new());
        suppression.suppress(&mut given.clone(), 0.5, 10, &mut kept);
        let capacities = suppression.capacities();
        suppression.suppress(&mut given.clone(), 0.5, 10, &mut kept);
        let [worse, better] = given;
        assert_eq!(kept, [better.clone(), worse.clone(), better, worse]);
        assert_eq!(suppression.capacities(), capacities);
    }

    impl Rect {
        fn into_corners(self) -> [f32; 4] {
            [self.x_min, self.y_min, self.x_max, self.y_max]
        }
    }

    fn detections() -> impl Strategy<Value = Vec<Detection>> {
        // 64 shares a list with 0.
        let class = prop::sample::select(vec![0_u32, 1, 2, 64]);
        let one = (class, 0..=10_u8, 0..40_u8, 0..40_u8, 0..20_u8, 0..20_u8);
        proptest::collection::vec(one, 0..60).prop_map(|all| {
            let make = |(class, confidence, x, y, width, height): (u32, u8, u8, u8, u8, u8)| {
                let (x, y) = (f32::from(x), f32::from(y));
                let corners = [x, y, x + f32::from(width), y + f32::from(height)];
                detection(class, f32::from(confidence) / 10.0, corners)
            };
            // A landmark says which one it is.
            let number = |(i, one): (usize, _)| Detection {
                landmarks: Landmarks::from_iter([[i as f32, 0.0]]),
                ..make(one)
            };
            all.into_iter().enumerate().map(number).collect()
        })
    }

    proptest! {
        #[test]
        fn kept_ones_are_some_of_the_given_and_do_not_overlap(
            given in detections(), iou in 0.0_f32..1.0, max in 1..80_usize,
        ) {
            let kept = suppress(given.clone(), iou, max);
            prop_assert!(kept.len() <= max);
            let mut unused = given.clone();
            for one in &kept {
                let place = unused.iter().position(|other| other == one);
                prop_assert!(place.is_some(), "{one:?} is not one of the given");
                place.map(|place| unused.remove(place));
            }
            for (i, a) in kept.iter().enumerate() {
                for b in kept.iter().skip(i + 1).filter(|b| b.class == a.class) {
                    prop_assert!(a.bbox.iou(&b.bbox) <= iou);
                }
            }
            let best_confidence = given.iter().map(|one| one.confidence).fold(0.0, f32::max);
            prop_assert_eq!(kept.first().map_or(0.0, |one| one.confidence), best_confidence);
            prop_assert_eq!(suppress(kept.clone(), iou, max), kept);
        }

        #[test]
        fn the_result_is_that_of_the_plain_reference(
            given in detections(),
            iou in prop_oneof![4 => -0.1_f32..1.1, 1 => Just(f32::NAN), 1 => Just(1.0_f32)],
            max in prop_oneof![4 => 0..80_usize, 1 => Just(usize::MAX)],
        ) {
            prop_assert_eq!(suppress(given.clone(), iou, max), reference(&given, Some(iou), max));
            prop_assert_eq!(best(given.clone(), max), reference(&given, None, max));
        }

        #[test]
        fn the_order_of_the_given_does_not_matter(mut given in detections(), iou in 0.0_f32..1.0) {
            given.iter_mut().for_each(|one| one.landmarks.clear());
            let mut reversed = given.clone();
            reversed.reverse();
            prop_assert_eq!(suppress(given, iou, 50), suppress(reversed, iou, 50));
        }
    }
}
