//! Training samples: a plate, a mask, the true background and the true layer.

pub mod background;
pub mod camera;
pub mod light;
pub mod loader;
pub mod mask;
pub mod object;
pub mod pool;
pub mod raster;
pub mod rendered;
pub mod rng;
pub mod stays;
pub mod synthetic;
pub mod traced;

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
}

/// Sample `index` under `seed`, of a source drawn by `shares`. The same arguments give the same sample, whatever thread asks.
#[must_use]
pub fn sample(pool: &Pool, seed: u64, index: u64, size: usize, shares: Shares) -> Sample {
    let mut rng = Rng::new(seed, SAMPLE_STREAM, index);
    if !pool.triplets.is_empty() && rng.chance(shares.rendered) {
        return rendered::draw(&mut rng, pool, size);
    }
    // Of what is not rendered; without traced scenes nothing is drawn here, and older runs keep their samples.
    let traced = shares.traced / (1.0 - shares.rendered).max(1e-6);
    if shares.traced > 0.0 && rng.chance(traced) {
        traced::draw(&mut rng, pool, size)
    } else {
        synthetic::draw(&mut rng, pool, size)
    }
}
