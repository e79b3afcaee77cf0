//! Randomness that repeats: hashes, a generator for choices, and smooth noise for clouds and hills.
//!
//! Not for secrets, and not evenly distributed enough for statistics; just for looks.

/// A 64-bit hash of a text (FNV-1a, then mixed).
pub fn hash(text: &str) -> u64 {
    let fnv = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    mixed(fnv)
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A `SplitMix64` generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// 0 to 1, never 1 itself.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    pub fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of four; a power of two, so that none is likelier.
    pub fn pick<T: Copy>(&mut self, from: [T; 4]) -> T {
        from[(self.bits() % 4) as usize]
    }

    /// Noise of its own, unrelated to all other.
    pub fn noise(&mut self) -> Noise {
        Noise { seed: (self.bits() >> 32) as u32 }
    }
}

/// Value noise on an integer lattice, smooth between its points.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    seed: u32,
}

impl Noise {
    /// 0 to 1.
    pub fn at(self, x: f32, y: f32) -> f32 {
        let ((column, tx), (row, ty)) = (split(x), split(y));
        let (left, top) = (column.wrapping_mul(COLUMN), row.wrapping_mul(ROW) ^ self.seed);
        let (right, bottom) = (left.wrapping_add(COLUMN), row.wrapping_add(1).wrapping_mul(ROW) ^ self.seed);
        let (tx, ty) = (eased(tx), eased(ty));
        let upper = between(scattered(left ^ top), scattered(right ^ top), tx);
        let lower = between(scattered(left ^ bottom), scattered(right ^ bottom), tx);
        between(upper, lower, ty)
    }

    /// The value of one lattice point, 0 to 1, unrelated to its neighbors.
    pub fn cell(self, column: i32, row: i32) -> f32 {
        let (column, row) = (column.cast_unsigned().wrapping_mul(COLUMN), row.cast_unsigned().wrapping_mul(ROW));
        scattered(column ^ row ^ self.seed)
    }

    /// Several octaves of noise, each half as strong and twice as fine: 0 to 1, mostly near the middle.
    pub fn fractal(self, x: f32, y: f32, octaves: u8) -> f32 {
        self.octaves(x, y, octaves, |value| value)
    }

    /// Like [`Self::fractal`] with sharp crests.
    pub fn ridged(self, x: f32, y: f32, octaves: u8) -> f32 {
        self.octaves(x, y, octaves, |value| 1.0 - (2.0 * value - 1.0).abs())
    }

    fn octaves(self, x: f32, y: f32, octaves: u8, shape: impl Fn(f32) -> f32) -> f32 {
        let (mut sum, mut total, mut strength, mut scale) = (0.0, 0.0, 1.0, 1.0);
        for octave in 0..octaves {
            let shift = f32::from(octave) * 17.3;
            sum += strength * shape(self.at(x * scale + shift, y * scale - shift));
            total += strength;
            strength *= 0.5;
            scale *= 2.03;
        }
        if total > 0.0 { sum / total } else { 0.0 }
    }
}

const COLUMN: u32 = 0x9e37_79b1;
const ROW: u32 = 0x85eb_ca77;

/// A number from 0 to 1 that looks unrelated to that of any other `place`.
fn scattered(place: u32) -> f32 {
    let mut bits = (place ^ (place >> 15)).wrapping_mul(0x2c1b_3c6d);
    bits = (bits ^ (bits >> 13)).wrapping_mul(0x846c_a68b);
    // A signed number, as the unsigned ones take longer to become a float.
    (bits >> 8).cast_signed() as f32 * (1.0 / 16_777_216.0)
}

/// The lattice point before `value`, and how far behind it `value` is.
///
/// The cast saturates, so what is beyond the lattice gives flat noise rather than an overflow. It is used
/// instead of `floor` because it needs no library call, and noise is most of the work.
fn split(value: f32) -> (u32, f32) {
    let toward_zero = value as i32;
    let floor = toward_zero.wrapping_sub(i32::from((toward_zero as f32) > value));
    (floor.cast_unsigned(), (value - floor as f32).clamp(0.0, 1.0))
}

fn eased(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

fn between(from: f32, to: f32, t: f32) -> f32 {
    from + (to - from) * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_stays_between_0_and_1_however_far_away() {
        let noise = Random::new(7).noise();
        for place in [0.0, -0.5, 3.25, -1e6, 1e12, -3e38, f32::MAX, f32::INFINITY] {
            let values = [noise.at(place, -place), noise.fractal(place, 1.5, 5), noise.ridged(2.5, place, 5)];
            assert!(values.iter().all(|value| (0.0..=1.0).contains(value)), "{place}: {values:?}");
        }
    }

    #[test]
    fn noise_has_no_steps() {
        let noise = Random::new(7).noise();
        let values: Vec<f32> = (-400..400).map(|at| noise.at(at as f32 * 0.01, 0.3)).collect();
        assert!(values.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 0.03));
    }

    #[test]
    fn every_seed_gives_its_own_sequence() {
        let sequence = |seed| {
            std::array::from_fn::<u64, 4, _>({
                let mut random = Random::new(seed);
                move |_| random.bits()
            })
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
        assert_ne!(hash("cat"), hash("cats"));
    }
}
