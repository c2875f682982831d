//! Medians, quartiles, percentiles, fairness.

/// The middle of some rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// The first and the third quartile.
    pub(crate) quartiles: (f64, f64),
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<_> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |rank: f64| quantile(&sorted, rank);
        Self { median: at(0.5), quartiles: (at(0.25), at(0.75)) }
    }

    /// The median with the quartiles behind it, with so many digits after the point.
    pub(crate) fn show(&self, digits: usize) -> String {
        let (low, high) = self.quartiles;
        format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", self.median)
    }
}

/// The value at that rank, 0..1, of sorted values, between two of them if need be; 0 of none.
pub(crate) fn quantile(sorted: &[f64], rank: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = rank.clamp(0.0, 1.0) * last as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or_default();
    at(place.floor()) + (at(place.ceil()) - at(place.floor())) * place.fract()
}

/// The value that the share `rank` of the sorted values does not exceed (nearest rank); 0 of none.
pub(crate) fn percentile(sorted: &[u64], rank: f64) -> u64 {
    let at = (rank * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

/// Jain's index of fairness: 1 if all have the same, 1/n if one has everything.
pub(crate) fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = (shares.iter().sum::<f64>(), shares.iter().map(|x| x * x).sum::<f64>());
    if squares > 0.0 { sum * sum / (shares.len() as f64 * squares) } else { 0.0 }
}
