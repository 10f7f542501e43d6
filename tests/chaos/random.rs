//! Numbers from a seed: the same seed, the same plan.

/// Splitmix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from + 1)
    }

    /// True so often of a hundred.
    pub fn percent(&mut self, often: u64) -> bool {
        self.between(1, 100) <= often
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        let place = self.between(0, of.len() as u64 - 1);
        &of[usize::try_from(place).unwrap()]
    }
}
