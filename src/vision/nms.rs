//! Non-maximum suppression: of detections of one class that overlap, only the best stays.
//!
//! Greedy and class-aware. The result depends on nothing but its input: ties of confidence are broken by
//! class, then by the box. It does not bound the number of candidates: the decoders do that before they
//! call it (see [`super::decode`]).

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Detection, Rect};

/// Keeps the best detections of each class that overlap no better one by more than `iou_threshold`.
///
/// Order of the result: confidence, best first; then class; then the sides of the box. At most
/// `max_detections` are returned. A candidate is dropped if its intersection over union with a kept one of
/// its class is *greater* than `iou_threshold`, so a threshold of 1 (or NaN) drops none. Cost: candidates ×
/// kept ones of the same class.
#[must_use]
pub fn suppress(mut candidates: Vec<Detection>, iou_threshold: f32, max_detections: usize) -> Vec<Detection> {
    candidates.sort_by(best_first);
    let mut kept: Vec<Detection> = Vec::new();
    let mut kept_boxes: HashMap<u32, Vec<Rect>> = HashMap::new();
    for candidate in candidates {
        if kept.len() >= max_detections {
            break;
        }
        let rivals = kept_boxes.entry(candidate.class).or_default();
        if rivals.iter().any(|rival| rival.iou(&candidate.bbox) > iou_threshold) {
            continue;
        }
        rivals.push(candidate.bbox);
        kept.push(candidate);
    }
    kept
}

/// The `max_detections` best detections, in the order of [`suppress`], overlapping or not: for models that
/// suppress inside their graph or need no suppression.
#[must_use]
pub fn best(mut candidates: Vec<Detection>, max_detections: usize) -> Vec<Detection> {
    candidates.sort_by(best_first);
    candidates.truncate(max_detections);
    candidates
}

fn best_first(a: &Detection, b: &Detection) -> Ordering {
    b.confidence
        .total_cmp(&a.confidence)
        .then(a.class.cmp(&b.class))
        .then_with(|| a.bbox.x_min.total_cmp(&b.bbox.x_min))
        .then_with(|| a.bbox.y_min.total_cmp(&b.bbox.y_min))
        .then_with(|| a.bbox.x_max.total_cmp(&b.bbox.x_max))
        .then_with(|| a.bbox.y_max.total_cmp(&b.bbox.y_max))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn detection(class: u32, confidence: f32, corners: [f32; 4]) -> Detection {
        let [x_min, y_min, x_max, y_max] = corners;
        let bbox = Rect::from_corners(x_min, y_min, x_max, y_max);
        Detection { bbox, class, confidence, landmarks: Vec::new() }
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

    impl Rect {
        fn into_corners(self) -> [f32; 4] {
            [self.x_min, self.y_min, self.x_max, self.y_max]
        }
    }

    fn detections() -> impl Strategy<Value = Vec<Detection>> {
        let one = (0..3_u32, 0..=10_u8, 0..40_u8, 0..40_u8, 0..20_u8, 0..20_u8);
        proptest::collection::vec(one, 0..60).prop_map(|all| {
            let make = |(class, confidence, x, y, width, height): (u32, u8, u8, u8, u8, u8)| {
                let (x, y) = (f32::from(x), f32::from(y));
                let corners = [x, y, x + f32::from(width), y + f32::from(height)];
                detection(class, f32::from(confidence) / 10.0, corners)
            };
            all.into_iter().map(make).collect()
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
        fn the_order_of_the_given_does_not_matter(given in detections(), iou in 0.0_f32..1.0) {
            let mut reversed = given.clone();
            reversed.reverse();
            prop_assert_eq!(suppress(given, iou, 50), suppress(reversed, iou, 50));
        }
    }
}
