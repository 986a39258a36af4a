//! Which of `n` items a caller picks.

use rand::{Rng, RngExt};

pub trait Draw: Send + Sync {
    /// An item in `0..n`.
    fn draw(&self, random: &mut dyn Rng) -> usize;
    fn name(&self) -> String;
}

/// Every item is as likely as any other.
pub struct Uniform(pub usize);

impl Draw for Uniform {
    fn draw(&self, random: &mut dyn Rng) -> usize {
        random.random_range(0..self.0)
    }

    fn name(&self) -> String {
        "uniform".to_owned()
    }
}

/// The k-th item has a probability in proportion to k^-exponent.
pub struct Zipf {
    exponent: f64,
    /// The probability of an item or any before it.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub fn new(items: usize, exponent: f64) -> Zipf {
        let mut sum = 0.0;
        let mut cumulative: Vec<f64> = (1..=items)
            .map(|rank| {
                sum += (rank as f64).powf(-exponent);
                sum
            })
            .collect();
        cumulative.iter_mut().for_each(|value| *value /= sum);
        Zipf { exponent, cumulative }
    }
}

impl Draw for Zipf {
    fn draw(&self, random: &mut dyn Rng) -> usize {
        let point: f64 = random.random();
        self.cumulative.partition_point(|value| *value < point).min(self.cumulative.len() - 1)
    }

    fn name(&self) -> String {
        format!("Zipf {}", self.exponent)
    }
}
