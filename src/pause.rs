//! Pauses of those who must not go on together.

use std::time::Duration;

use crate::token::RandomSource;

/// At most so long, and at least half of it: chance decides.
pub(crate) fn up_to(longest: Duration) -> Duration {
    // Without random bytes they go on together, and are in each other's way once more.
    let random = RandomSource::default().version().unwrap_or_default();
    longest.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_and_are_neither_too_long_nor_less_than_half() {
        let longest = Duration::from_secs(60);
        let pauses: Vec<_> = (0..100).map(|_| up_to(longest)).collect();
        assert!(pauses.iter().all(|pause| (longest / 2..longest).contains(pause)), "{pauses:?}");
        let (shortest, longest) = (pauses.iter().min(), pauses.iter().max());
        assert!(longest > shortest, "{pauses:?}");
        assert!(up_to(Duration::MAX) < Duration::MAX);
    }
}
