//! Training samples: a plate, a mask, the true background and the true layer.

pub mod background;
pub mod camera;
pub mod hull;
pub mod light;
pub mod loader;
pub mod mask;
pub mod object;
pub mod pairs;
pub mod pool;
pub mod raster;
pub mod rendered;
pub mod rng;
pub mod stays;
pub mod synthetic;
pub mod traced;
mod varied;

use pool::Pool;
use raster::Raster;
use rng::Rng;

/// One training sample, display-referred. Without JPEG `plate = foreground + (1 - alpha) background` exactly.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Everything visible.
    pub plate: Raster<3>,
    /// The mask that the model is given.
    pub mask: Raster<1>,
    /// The true background.
    pub background: Raster<3>,
    /// The true layer, premultiplied: the object with its shadow and reflection.
    pub foreground: Raster<4>,
    /// The object's own visible alpha, without effects: for metrics.
    pub object: Raster<1>,
    /// False where the true layer is not known (real pairs): the foreground is then not compared.
    pub has_foreground: bool,
}

/// Which random stream a sample comes from: training and held-out samples never share one.
const SAMPLE_STREAM: u64 = 1;

/// Which share of the samples comes from which source; the rest are synthetic composites.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Shares {
    /// Triplets rendered elsewhere, from the pool.
    pub rendered: f32,
    /// Scenes traced on the fly.
    pub traced: f32,
    /// Real photographs with the object and without it, whose true layer nobody knows.
    pub pairs: f32,
}

/// The source of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Rendered,
    Traced,
    Pair,
    Synthetic,
}

impl Shares {
    /// Draws a source; one that the pool has nothing of leaves its share to the composites.
    fn draw(self, rng: &mut Rng, pool: &Pool) -> Source {
        let mut left = 1.0;
        let sources = [
            (self.rendered, !pool.triplets.is_empty(), Source::Rendered),
            (self.traced, true, Source::Traced),
            (self.pairs, !pool.pairs.is_empty(), Source::Pair),
        ];
        for (share, there, source) in sources {
            // Nothing is drawn for a share of 0, so that runs without a source keep their samples when it is invented.
            if there && share > 0.0 {
                if rng.chance(share / left) {
                    return source;
                }
                left = (left - share).max(1e-6);
            }
        }
        Source::Synthetic
    }
}

/// Which random stream the order of a sample's channels comes from.
const COLOUR_STREAM: u64 = 4;

/// Which random stream a mask that is drawn tighter comes from.
const TIGHTENED_STREAM: u64 = 0x5449_4748;

/// The six orders of red, green and blue.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// How many training samples may have their channels in another order.
const REORDERED: f32 = 0.5;

impl Sample {
    /// The sample with its channels in another order: another scene as good as this one, since every layer is changed alike. It makes
    /// a thousand photographs six thousand, which a network is slower to learn by heart.
    #[must_use]
    fn reordered(mut self, order: [usize; 3]) -> Self {
        for pixel in self.plate.pixels.iter_mut().chain(&mut self.background.pixels) {
            *pixel = order.map(|c| pixel[c]);
        }
        for pixel in &mut self.foreground.pixels {
            let [r, g, b] = order.map(|c| pixel[c]);
            *pixel = [r, g, b, pixel[3]];
        }
        self
    }
}

/// Sample `index` under `seed`, of a source drawn by `shares`. The same arguments give the same sample, whatever thread asks.
#[must_use]
pub fn sample(pool: &Pool, seed: u64, index: u64, size: usize, shares: Shares) -> Sample {
    let mut rng = Rng::new(seed, SAMPLE_STREAM, index);
    let mut sample = match shares.draw(&mut rng, pool) {
        Source::Rendered => rendered::draw(&mut rng, pool, size),
        Source::Traced => traced::draw(&mut rng, pool, size),
        Source::Pair => pairs::draw(&mut rng, pool, size),
        Source::Synthetic => synthetic::draw(&mut rng, pool, size),
    };
    let mut rng = Rng::new(seed, TIGHTENED_STREAM, index);
    if rng.chance(pool.tightened) {
        sample.mask = mask::tightened(&mut rng, &sample.mask, &sample.object);
    }
    let mut rng = Rng::new(seed, COLOUR_STREAM, index);
    if rng.chance(REORDERED) {
        sample.reordered(ORDERS[rng.below(ORDERS.len())])
    } else {
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_order_of_the_channels_keeps_the_layers_on_each_other() {
        let mut rng = Rng::new(3, 0, 0);
        let background = Raster::from_fn(5, 4, |_, _| std::array::from_fn(|_| rng.unit()));
        let foreground = Raster::from_fn(5, 4, |_, _| {
            let alpha = rng.unit();
            [alpha * rng.unit(), alpha * rng.unit(), alpha * rng.unit(), alpha]
        });
        let sample = Sample {
            plate: foreground.over_picture(&background),
            mask: foreground.alpha(),
            object: foreground.alpha(),
            background,
            foreground,
            has_foreground: true,
        };
        for order in ORDERS {
            let other = sample.clone().reordered(order);
            assert_eq!(other.plate, other.foreground.over_picture(&other.background));
            assert_eq!(other.foreground.alpha(), sample.foreground.alpha());
            assert_eq!(other == sample, order == ORDERS[0]);
        }
    }
}
