//! How long to wait before the next attempt.

use std::time::Duration;

/// The shortest delay there is: whatever is asked for, a source that fails at once is not tried in a tight loop.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// The longest delay there is: what the clock can count.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// How delays grow from attempt to attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// Twice the one before.
    #[default]
    Exponential,
    /// The first delay more than the one before.
    Linear,
}

/// The rule for delays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// Delay before the first attempt.
    pub base: Duration,
    /// Longest delay.
    pub max: Duration,
    /// How delays grow.
    pub growth: Growth,
    /// By which share a delay may be shorter, 0 to 1. A delay is never longer than the rule says.
    pub jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            max: Duration::from_secs(30),
            growth: Growth::default(),
            jitter: 0.2,
        }
    }
}

impl Backoff {
    /// The delay before an attempt, counted from 1. `entropy` is a random number in 0 to 1, of each caller its own:
    /// it spreads the attempts of sources that were lost in the same moment.
    #[must_use]
    pub fn delay(&self, attempt: u32, entropy: f64) -> Duration {
        let step = attempt.max(1) - 1;
        let factor = match self.growth {
            Growth::Exponential => 1_u32.checked_shl(step).filter(|factor| *factor != 0).unwrap_or(u32::MAX),
            Growth::Linear => step.saturating_add(1),
        };
        self.spread(self.base.saturating_mul(factor), entropy)
    }

    /// The longest delay, spread as any other.
    #[must_use]
    pub fn longest(&self, entropy: f64) -> Duration {
        self.spread(self.max, entropy)
    }

    fn spread(&self, delay: Duration, entropy: f64) -> Duration {
        let share = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
        let delay = delay.min(self.max).clamp(SHORTEST, LONGEST);
        // Not the longer delay that rounding may make of it.
        delay.mul_f64(1.0 - share(self.jitter) * share(entropy)).clamp(SHORTEST, delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(backoff: Backoff, attempts: &[u32]) -> Vec<u64> {
        attempts.iter().map(|attempt| backoff.delay(*attempt, 0.0).as_secs()).collect()
    }

    #[test]
    fn exponential_delays_double_up_to_the_longest() {
        assert_eq!(seconds(Backoff::default(), &[1, 2, 3, 4, 5, 6, 7]), [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn linear_delays_grow_by_the_first() {
        let backoff = Backoff { growth: Growth::Linear, ..Backoff::default() };
        assert_eq!(seconds(backoff, &[1, 2, 3, 29, 30, 31]), [1, 2, 3, 29, 30, 30]);
    }

    #[test]
    fn jitter_only_shortens_by_its_share() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(1, 0.0), Duration::from_secs(1));
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(800));
    }

    #[test]
    fn no_delay_is_shorter_than_the_shortest() {
        let backoff =
            Backoff { base: Duration::ZERO, max: Duration::ZERO, jitter: 1.0, ..Backoff::default() };
        assert_eq!(backoff.delay(9, 1.0), SHORTEST);
    }

    #[test]
    fn a_delay_without_end_is_one_that_can_be_counted() {
        let backoff = Backoff { base: Duration::MAX, max: Duration::MAX, ..Backoff::default() };
        assert_eq!(backoff.delay(u32::MAX, 0.0), LONGEST);
    }

    #[test]
    fn entropy_and_jitter_that_are_no_shares_are_taken_as_such() {
        let backoff = Backoff { jitter: f64::NAN, ..Backoff::default() };
        assert_eq!(backoff.delay(1, f64::INFINITY), Duration::from_secs(1));
        let backoff = Backoff { jitter: 7.0, ..Backoff::default() };
        assert_eq!(backoff.delay(1, 9.0), SHORTEST);
    }

    proptest! {
        #[test]
        fn any_rule_gives_a_delay_within_its_bounds(
            base in any::<u64>(), max in any::<u64>(), jitter in any::<f64>(), entropy in any::<f64>(),
            attempt in any::<u32>(), is_linear in any::<bool>(),
        ) {
            let growth = if is_linear { Growth::Linear } else { Growth::Exponential };
            let (base, max) = (Duration::from_nanos(base), Duration::from_nanos(max));
            let backoff = Backoff { base, max, growth, jitter };
            let delay = backoff.delay(attempt, entropy);
            prop_assert!(delay >= SHORTEST && delay <= max.max(SHORTEST));
        }
    }
}
