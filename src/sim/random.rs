//! Random numbers from a seed: the same seed gives the same numbers everywhere. (`splitmix64`, by Sebastiano Vigna.)

use std::time::Duration;

/// A random number generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of the remainder does not matter for the small ends used here.
        self.number().checked_rem(end).unwrap_or(0)
    }

    /// True with this probability in thousandths.
    pub fn chance(&mut self, in_thousand: u32) -> bool {
        self.below(1000) < u64::from(in_thousand)
    }

    /// A time from `least` to `most`.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let width = most.saturating_sub(least).as_nanos();
        let width = u64::try_from(width).unwrap_or(u64::MAX).saturating_add(1);
        least + Duration::from_nanos(self.below(width))
    }

    /// One of these; none if there are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len() as u64);
        of.get(usize::try_from(at).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_and_another_seed_another() {
        let generate = |seed| {
            let mut r = Random::new(seed);
            [r.below(1000), r.below(1000), r.below(1000)]
        };
        assert_eq!(generate(7), generate(7));
        assert_ne!(generate(7), generate(8));
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let mut r = Random::new(1);
        let draws: Vec<u64> = (0..1000).map(|_| r.below(10)).collect();
        assert_eq!(draws.iter().min(), Some(&0));
        assert_eq!(draws.iter().max(), Some(&9));
        assert_eq!(r.below(0), 0);
        assert!((0..1000).all(|_| !r.chance(0)) && (0..1000).all(|_| r.chance(1000)));
        assert_eq!(r.pick::<u8>(&[]), None);
    }
}
