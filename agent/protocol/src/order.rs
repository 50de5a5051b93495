//! The random orders of a unit, drawn from its seed. The agent follows them; anybody who has the plan can
//! draw them again and check that it did. Knows nothing about time or processes.

use crate::Rng;

/// Orders of one [`crate::Schedule::PingPong`] unit. Every order names all trials of the unit, dead or
/// alive: a trial whose worker is gone is passed over, so that its death changes nobody's place.
#[derive(Clone, Debug)]
pub struct UnitOrder {
    load: Vec<u32>,
    warm_up: Vec<u32>,
    rng: Rng,
}

impl UnitOrder {
    /// Draws the load order, then the warm-up order; blocks follow on demand.
    pub fn new(seed: u64, trials: u32) -> Self {
        let mut rng = Rng::new(seed);
        let load = rng.permutation(trials);
        let warm_up = rng.permutation(trials);
        Self { load, warm_up, rng }
    }

    /// In which order models are loaded and invoked for the first time.
    pub fn load(&self) -> &[u32] {
        &self.load
    }

    /// In which order workers are warmed up.
    pub fn warm_up(&self) -> &[u32] {
        &self.warm_up
    }

    /// Bursts of the next block: every trial once in random order, then all in the reverse order, so that
    /// a steady drift within the block cancels out.
    pub fn next_block(&mut self) -> Vec<u32> {
        let mut block = self.rng.permutation(self.load.len() as u32);
        let mut back = block.clone();
        back.reverse();
        block.append(&mut back);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_an_order_and_its_reverse() {
        let mut order = UnitOrder::new(3, 5);
        for _ in 0..50 {
            let block = order.next_block();
            let (there, back) = block.split_at(5);
            assert!(there.iter().eq(back.iter().rev()));
            let mut sorted = there.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
    }

    /// The sequence is a promise: a record made today must replay with tomorrow's code.
    #[test]
    fn orders_of_seed_42_never_change() {
        let mut order = UnitOrder::new(42, 3);
        let got = (order.load().to_vec(), order.warm_up().to_vec(), order.next_block(), order.next_block());
        let drawn_elsewhere = (vec![1, 2, 0], vec![0, 1, 2], vec![2, 0, 1, 1, 0, 2], vec![0, 2, 1, 1, 2, 0]);
        assert_eq!(got, drawn_elsewhere);
    }
}
