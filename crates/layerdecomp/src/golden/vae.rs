//! Both autoencoders against diffusers' `AutoencoderKL`: `tests/golden/make_vae.py`.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;

use super::latent::autoencoder;
use super::{Golden, read};
use crate::Vae;

#[test]
fn both_autoencoders() {
    let config = autoencoder();
    let golden = Golden(read("vae.safetensors"));
    for (name, pictures) in [("rgb", 3), ("rgba", 4)] {
        let vb = VarBuilder::from_tensors(golden.0.clone(), DType::F32, &Device::Cpu).pp(name);
        let vae = Vae::new(&config, pictures, &vb).unwrap();
        let x = golden.get(&format!("{name}.input"));
        let (mean, log_variance) = vae.moments(&x).unwrap();
        golden.check(&format!("{name}.mean"), &mean);
        golden.check(&format!("{name}.log_variance"), &log_variance);
        // Scaling there and back is no change.
        golden.check(
            &format!("{name}.output"),
            &vae.decode(&vae.encode(&x).unwrap()).unwrap(),
        );
    }
}
