//! The product of two vectors, which most of an exact search is.

/// Numbers that are multiplied at once, and sums that are kept apart so that none waits for another.
const LANES: usize = 8;
const SUMS: usize = 4;
const STEP: usize = LANES * SUMS;

/// The sum of the products of their numbers.
pub fn product(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len(), "vectors of one index have the same dimensions");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { product_avx2(one, other) };
    }
    in_lanes(one, other, |sum, one, other| sum + one * other)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn product_avx2(one: &[f32], other: &[f32]) -> f32 {
    in_lanes(one, other, |sum, one, other| one.mul_add(other, sum))
}

/// Written so that the compiler keeps each of the sums in a register of the processor.
#[inline(always)]
fn in_lanes(one: &[f32], other: &[f32], add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [[0.0_f32; LANES]; SUMS];
    let (ones, others) = (one.chunks_exact(STEP), other.chunks_exact(STEP));
    let rest = ones.remainder().iter().zip(others.remainder());
    let rest = rest.fold(0.0, |sum, (one, other)| add(sum, *one, *other));
    for (one, other) in ones.zip(others) {
        for (at, sum) in sums.iter_mut().enumerate() {
            for (lane, sum) in sum.iter_mut().enumerate() {
                *sum = add(*sum, one[at * LANES + lane], other[at * LANES + lane]);
            }
        }
    }
    sums.iter().flatten().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use rand::{Rng, RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn it_is_the_sum_of_the_products_for_every_number_of_dimensions() {
        let seed: u64 = rand::random();
        eprintln!("seed {seed}");
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        let dimensions = (2..=70).chain([127, 128, 129, 255, 768, 1_536, 1_537, 3_072, 4_095, 4_096]);
        for dimensions in dimensions {
            let one = vector(&mut random, dimensions);
            let other = vector(&mut random, dimensions);
            let expected: f64 =
                one.iter().zip(&other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
            let lengths: f64 =
                one.iter().zip(&other).map(|(one, other)| f64::from((one * other).abs())).sum();
            for found in [product(&one, &other), in_lanes(&one, &other, |sum, one, other| sum + one * other)]
            {
                assert!(
                    (f64::from(found) - expected).abs() <= 1e-6 * lengths.max(1.0),
                    "{dimensions}: {found} {expected}"
                );
            }
        }
    }

    fn vector(random: &mut impl Rng, dimensions: usize) -> Vec<f32> {
        (0..dimensions).map(|_| random.random_range(-1.0..1.0)).collect()
    }
}
