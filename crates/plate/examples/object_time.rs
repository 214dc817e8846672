//! Time of one object's whole decomposition at the default settings, with the weights that ship:
//! `cargo run --release -p peel-plate --example object_time [WEIGHTS] [REPEAT]`.
//!
//! The plate is 1920 x 1080 with grain, the object a disc of a tenth of it with a soft shadow. Printed are wall time and CPU
//! time of the whole and of the model alone, with as many threads as there are processors (or `RAYON_NUM_THREADS`). The
//! shortest of the repeated runs counts; loading the weights is told apart.
#![allow(clippy::print_stdout)] // Printing is what it is for.

mod usage;

use std::path::Path;
use std::time::Instant;

use candle_core::Device;
use peel_image::{Layer, Matte, Rect};
use peel_layerdecomp::Model;
use peel_plate::{Decomposer, Network, Options, Plane, Prediction, Result, Rgb, Sampling, peel_one};

/// A model that notes what it takes.
struct Timed {
    network: Network,
    seconds: std::sync::Mutex<f64>,
}

impl Decomposer for Timed {
    fn decompose(
        &self,
        picture: &Rgb,
        mask: &Plane,
        sampling: &Sampling,
        progress: &dyn Fn(f32) -> bool,
    ) -> Result<Prediction> {
        let start = Instant::now();
        let answer = self.network.decompose(picture, mask, sampling, progress);
        if let Ok(mut seconds) = self.seconds.lock() {
            *seconds = start.elapsed().as_secs_f64();
        }
        answer
    }

    fn working_size(&self) -> usize {
        self.network.working_size()
    }

    fn digest(&self) -> String {
        self.network.digest()
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../../weights/layerdecomp-s");
    let weights = arguments.next().unwrap_or_else(|| shipped.to_owned());
    let repeat = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(5);

    let frame = Rect::of_size(1920, 1080);
    let centre = (900.0f32, 500.0f32);
    let radius = (0.1 * 1920.0 * 1080.0 / std::f32::consts::PI).sqrt();
    let shadow = |x: f32, y: f32| {
        let far = ((x - centre.0 - radius * 0.8) / 1.6).hypot(y - centre.1 - radius * 0.7) / radius;
        0.5 * (1.3 - far).clamp(0.0, 1.0)
    };
    let plate = Layer::from_fn(frame, frame, |x, y| {
        let grain = ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) & 1023) as f32 / 1023.0;
        let light = 0.15 + 0.2 * x as f32 / 1920.0 + 0.05 * grain;
        if (x as f32 - centre.0).hypot(y as f32 - centre.1) < radius {
            [0.6, 0.1 + 0.1 * grain, 0.05, 1.0]
        } else {
            let lit = light * (1.0 - shadow(x as f32, y as f32));
            [lit, 0.9 * lit, 0.7 * lit, 1.0]
        }
    });
    let matte = Matte::from_fn(frame, frame, |x, y| {
        (radius + 0.5 - (x as f32 - centre.0).hypot(y as f32 - centre.1)).clamp(0.0, 1.0)
    });

    let start = Instant::now();
    let network = Network::new(Model::load(Path::new(&weights), &Device::Cpu)?, Device::Cpu);
    println!("loading: {:.3} s", start.elapsed().as_secs_f64());
    let model = Timed {
        network,
        seconds: std::sync::Mutex::new(0.0),
    };
    let options = Options::default();
    let mut shortest = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    for _ in 0..repeat {
        let (start, cpu) = (Instant::now(), usage::cpu_seconds());
        peel_one(&plate, &matte, &model, &options, &|_| true)?;
        let (wall, busy) = (
            start.elapsed().as_secs_f64(),
            f64::from(usage::cpu_seconds() - cpu),
        );
        let own = model.seconds.lock().map_or(0.0, |seconds| *seconds);
        shortest = (shortest.0.min(wall), shortest.1.min(busy), shortest.2.min(own));
    }
    let (wall, busy, own) = shortest;
    println!(
        "one object on 1920 x 1080, {} steps of {}, {} threads: {wall:.2} s, {busy:.2} CPU-s; of it the model {own:.2} s",
        options.steps,
        options.sampler,
        rayon::current_num_threads()
    );
    Ok(())
}
