//! The one generator of pseudo-random numbers that host and agent share, so that an order drawn on a
//! device can be drawn again anywhere from its seed. Not for secrets, and not a statistics library.
//!
//! xoshiro256** 1.0, its state filled by SplitMix64 (Blackman and Vigna, <https://prng.di.unimi.it>). The
//! sequence is part of the protocol: changing it is a new [`crate::PROTOCOL_VERSION`].

/// A seeded generator.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| split_mix(&mut state)))
    }

    /// The sequence that belongs to `seed` and a list of numbers that name what it is for: streams with
    /// different names are unrelated.
    pub fn for_stream(seed: u64, name: &[u64]) -> Self {
        let mut state = seed;
        for part in name {
            state = split_mix(&mut state) ^ part;
        }
        Self::new(state)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= t;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in `0..n`, without bias; 0 for `n` = 0.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let x = self.next_u64();
            if x < limit {
                return x % n;
            }
        }
    }

    /// Uniform in [0, 1): a multiple of 2⁻²⁴, exact in binary32.
    pub fn unit_f32(&mut self) -> f32 {
        (self.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// `0..n` in random order (Fisher–Yates, from the end).
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for last in (1..order.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            order.swap(last, other);
        }
        order
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published vectors of both generators.
    #[test]
    fn known_answers() {
        let mut state = 1_234_567;
        let got = [(); 3].map(|()| split_mix(&mut state));
        assert_eq!(got, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        let mut rng = Rng([1, 2, 3, 4]);
        let got = [(); 4].map(|()| rng.next_u64());
        assert_eq!(got, [11_520, 0, 1_509_978_240, 1_215_971_899_390_074_240]);
    }

    #[test]
    fn draws_stay_in_range_and_reach_every_value() {
        let mut rng = Rng::new(7);
        let mut seen = [0u32; 6];
        for _ in 0..6000 {
            seen[rng.below(6) as usize] += 1;
            let x = rng.unit_f32();
            assert!((0.0..1.0).contains(&x));
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert_eq!((rng.below(1), rng.below(0)), (0, 0));
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, name: &[u64]| Rng::for_stream(seed, name).next_u64();
        assert_eq!(draw(1, &[2, 3]), draw(1, &[2, 3]));
        let all = [draw(1, &[2, 3]), draw(1, &[3, 2]), draw(1, &[2]), draw(1, &[]), draw(2, &[2, 3])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "stream {i} repeats another");
        }
    }

    #[test]
    fn permutations_are_fair() {
        let mut rng = Rng::new(11);
        let mut first = [0u32; 3];
        for _ in 0..3000 {
            let p = rng.permutation(3);
            let mut sorted = p.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2]);
            first[p[0] as usize] += 1;
        }
        assert!(first.iter().all(|n| (900..1100).contains(n)), "{first:?}");
        assert!(rng.permutation(0).is_empty());
    }
}
