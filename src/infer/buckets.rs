//! The sizes that batches run at where a new size is expensive. Pure.
//!
//! A GPU provider chooses kernels, or builds an engine, for every shape it meets. So batches run at few sizes, the
//! buckets {1, 2, 4, 8, …, max}: one of fewer rows is filled up with rows of zeros, whose results are thrown away. On the
//! CPU every size is as good as another, and a row of zeros costs as much as a frame: there batches run as they come.

use std::collections::BTreeSet;

/// The powers of two below `max`, and `max`: the sizes to warm up for batches of up to `max` rows.
#[must_use]
pub fn up_to(max: usize) -> Vec<usize> {
    let max = max.max(1);
    let doubled = std::iter::successors(Some(1_usize), |size| size.checked_mul(2));
    doubled.take_while(|size| *size < max).chain([max]).collect()
}

/// The sizes one engine runs at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets {
    warm: BTreeSet<usize>,
    /// Most rows of a batch.
    limit: Option<usize>,
}

impl Buckets {
    /// None yet; no batch will be larger than `limit`.
    pub(super) const fn new(limit: Option<usize>) -> Self {
        Self { warm: BTreeSet::new(), limit }
    }

    /// Batches of `size` rows have been warmed up.
    pub(super) fn warm(&mut self, size: usize) {
        self.warm.insert(size);
    }

    /// How many rows a batch of `rows` runs with: the next size that is warm, else the next power of two.
    pub(super) fn size_for(&self, rows: usize) -> usize {
        let doubled = rows.checked_next_power_of_two().unwrap_or(rows);
        let next = self.limit.map_or(doubled, |limit| doubled.min(limit)).max(rows);
        // A far larger one that is warm is no bargain.
        self.warm.range(rows..).next().copied().filter(|warm| *warm <= next).unwrap_or(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_double_up_to_the_largest() {
        assert_eq!(up_to(0), [1]);
        assert_eq!(up_to(1), [1]);
        assert_eq!(up_to(2), [1, 2]);
        assert_eq!(up_to(6), [1, 2, 4, 6]);
        assert_eq!(up_to(8), [1, 2, 4, 8]);
        assert_eq!(up_to(9), [1, 2, 4, 8, 9]);
    }

    #[test]
    fn a_batch_runs_at_the_next_warm_size() {
        let mut buckets = Buckets::new(None);
        up_to(6).into_iter().for_each(|size| buckets.warm(size));
        let sizes: Vec<_> = (1..=6).map(|rows| buckets.size_for(rows)).collect();
        assert_eq!(sizes, [1, 2, 4, 4, 6, 6]);
        assert_eq!(buckets.size_for(7), 8, "not warm, but the next bucket");
    }

    #[test]
    fn nothing_runs_at_more_rows_than_the_limit() {
        let buckets = Buckets::new(Some(12));
        assert_eq!((buckets.size_for(9), buckets.size_for(5), buckets.size_for(12)), (12, 8, 12));
    }

    #[test]
    fn a_small_batch_is_not_filled_up_to_a_large_warm_one() {
        let mut buckets = Buckets::new(None);
        buckets.warm(64);
        assert_eq!(buckets.size_for(3), 4);
        assert_eq!(buckets.size_for(33), 64);
    }

    proptest! {
        #[test]
        fn every_batch_fits_wastes_less_than_half_and_meets_a_warm_size(max in 1_usize..300, rows in 1_usize..300) {
            let rows = rows.min(max);
            let mut buckets = Buckets::new(Some(max));
            let sizes = up_to(max);
            sizes.iter().for_each(|size| buckets.warm(*size));
            let size = buckets.size_for(rows);
            prop_assert!(size >= rows);
            prop_assert!(size < 2 * rows);
            prop_assert!(sizes.contains(&size));
        }

        #[test]
        fn any_size_has_an_answer_that_fits(rows in any::<usize>(), limit in proptest::option::of(any::<usize>())) {
            prop_assert!(Buckets::new(limit).size_for(rows) >= rows);
        }

        #[test]
        fn sizes_rise_and_end_at_the_largest(max in 1_usize..100_000) {
            let sizes = up_to(max);
            prop_assert!(sizes.windows(2).all(|pair| pair[0] < pair[1] && pair[1] <= 2 * pair[0]));
            prop_assert_eq!(sizes.last(), Some(&max));
        }
    }
}
