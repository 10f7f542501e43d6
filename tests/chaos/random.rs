//! Random numbers from a seed: the same seed gives the same plan.

/// What a plan draws.
pub struct PlanRandom(had::sim::Random);

impl PlanRandom {
    pub fn new(seed: u64) -> PlanRandom {
        PlanRandom(had::sim::Random::new(seed))
    }

    /// From `from` to `to`, both included.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.0.below(to - from + 1)
    }

    /// True with this probability in percent.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        self.0.pick(of).unwrap()
    }
}
