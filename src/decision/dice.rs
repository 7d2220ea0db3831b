//! Chance that can be repeated: the same seed, fault and ordinal give the same draws for ever.
//!
//! The mixing function is our own (SplitMix64, Steele, Lea and Flood 2014), because generators of libraries may change
//! between releases and a seed in somebody's repository must not.

/// What a draw depends on beside the seed and the fault: the n-th match, or a sticky key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u64);

impl Key {
    /// The key of some bytes (FNV-1a, then mixed).
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(mix(hash))
    }
}

/// The draws of one fault for one exchange.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The dice of this seed, fault and ordinal (or sticky key).
    #[must_use]
    pub fn new(seed: u64, fault: Key, key: Key) -> Self {
        Self { state: mix(mix(seed).wrapping_add(fault.0)).wrapping_add(mix(key.0 ^ 0x9e37_79b9_7f4a_7c15)) }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    /// The next number from 0 (in) to 1 (out).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// `rand` and its distributions draw from the dice as from any generator.
impl rand::rand_core::TryRng for Dice {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.bits() >> 32) as u32)
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.bits())
    }
    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for piece in dst.chunks_mut(8) {
            let bytes = self.bits().to_le_bytes();
            piece.copy_from_slice(&bytes[..piece.len()]);
        }
        Ok(())
    }
}

/// SplitMix64's finalizer.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_draws_for_ever() {
        let mut dice = Dice::new(42, Key::of(b"provider is slow"), Key(1));
        let first: Vec<u64> = (0..2).map(|_| dice.bits()).collect();
        let mut again = Dice::new(42, Key::of(b"provider is slow"), Key(1));
        assert_eq!(first, (0..2).map(|_| again.bits()).collect::<Vec<_>>());
        assert_ne!(Dice::new(43, Key::of(b"provider is slow"), Key(1)).bits(), first[0]);
        assert_ne!(Dice::new(42, Key::of(b"provider is slow"), Key(2)).bits(), first[0]);
        assert_ne!(Dice::new(42, Key::of(b"other"), Key(1)).bits(), first[0]);
    }

    #[test]
    fn draws_are_even() {
        let fault = Key::of(b"f");
        for percent in [0.1, 1.0, 5.0, 50.0, 99.0] {
            let n = 200_000u64;
            let hits =
                (1..=n).filter(|i| Dice::new(7, fault, Key(*i)).unit() * 100.0 < percent).count() as f64;
            let p = percent / 100.0;
            let sigma = (n as f64 * p * (1.0 - p)).sqrt();
            assert!((hits - n as f64 * p).abs() < 4.0 * sigma, "{percent} %: {hits}");
        }
    }
}
