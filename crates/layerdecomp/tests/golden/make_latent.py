"""Writes a golden latent model: diffusers' autoencoders around the transformer of make_golden.py, with noise prediction.

    pip install torch numpy safetensors diffusers
    python make_latent.py            # reads vae.safetensors, writes latent.safetensors beside itself

The transformer's weights are those of weights.safetensors, the autoencoders' those of vae.safetensors.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler
from safetensors.torch import load_file

import make_golden as pixel
import make_vae

SCALE, SHIFT, PATCH, H, W = 0.3611, 0.1159, 2, 16, 24
FEATURES = make_vae.LATENT * PATCH * PATCH

random = np.random.default_rng(815)


def rounded(*shape, scale=1.0):
    return torch.from_numpy((random.standard_normal(shape) * scale).astype(np.float16).astype(np.float32))


def autoencoder(stored, prefix, pictures):
    vae = make_vae.autoencoder(pictures)

    def weight(name, like):
        tensor = stored[f"{prefix}.{make_vae.own_name(name)}"].float()
        if like.dim() == 4:
            tensor = tensor.permute(3, 2, 0, 1) if tensor.dim() == 4 else tensor[:, :, None, None]
        return tensor

    vae.load_state_dict({name: weight(name, like) for name, like in vae.state_dict().items()})
    encode = lambda x: (vae.encode(2 * x - 1).latent_dist.mean - SHIFT) * SCALE
    decode = lambda z: vae.decode(z / SCALE + SHIFT).sample / 2 + 0.5
    return encode, decode


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    stored = load_file(make_vae.HERE / "vae.safetensors")
    (encode, decode), (_, decode_rgba) = autoencoder(stored, "rgb", 3), autoencoder(stored, "rgba", 4)
    width = pixel.WIDTH
    own = {}
    for stream in ("plate", "mask", "background", "foreground"):
        own[f"embed.{stream}.weight"] = rounded(width, FEATURES, scale=1 / math.sqrt(FEATURES))
        own[f"embed.{stream}.bias"] = rounded(width, scale=0.1)
    for stream in ("background", "foreground"):
        own[f"head.{stream}.weight"] = rounded(FEATURES, width, scale=1 / math.sqrt(width))
        own[f"head.{stream}.bias"] = rounded(FEATURES, scale=0.1)
    pixel.weights.update(own)

    n, rows, columns = 2, H // 8, W // 8
    inputs = {
        "input.plate": rounded(n, 3, H, W, scale=0.2).add(0.5).clamp(0, 1).half().float(),
        "input.mask": torch.zeros(n, 1, H, W),
        "input.background": rounded(n, make_vae.LATENT, H // 4, W // 4),
        "input.foreground": rounded(n, make_vae.LATENT, H // 4, W // 4),
        "input.time": torch.tensor([0.5, 0.25]),
    }
    inputs["input.mask"][0, 0, 4:12, 6:20] = 1
    inputs["input.mask"][1, 0, 8:, :9] = 0.5
    plate, mask, background, foreground, time = inputs.values()

    patches = lambda z: F.pixel_unshuffle(z, PATCH).flatten(2).transpose(1, 2)
    embed = lambda stream, z: pixel.linear(f"embed.{stream}", patches(z))
    place, types = pixel.positions(rows, columns), pixel.weights["stream_types"]
    condition = torch.cat([embed("plate", encode(plate)) + place + types[0],
                           embed("mask", encode(mask.expand(-1, 3, -1, -1))) + place + types[1]], 1)
    noisy = torch.cat([embed("background", background) + place + types[2],
                       embed("foreground", foreground) + place + types[3]], 1)
    _, tokens = pixel.transformer(condition, noisy, time, cached=False)
    half = rows * columns

    def said(stream, tokens):
        out = pixel.linear(f"head.{stream}", tokens).transpose(1, 2).reshape(n, FEATURES, rows, columns)
        return F.pixel_shuffle(out, PATCH)

    noise = {"background": said("background", tokens[:, :half]), "foreground": said("foreground", tokens[:, half:])}
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    # Step t of 1000 is at time 1 - (t + 1) / 1000.
    alphas = scheduler.alphas_cumprod[[499, 749]].reshape(-1, 1, 1, 1)
    clean = lambda z, noise: (z - (1 - alphas).sqrt() * noise) / alphas.sqrt()
    expected = {
        "said.background": noise["background"],
        "said.foreground": noise["foreground"],
        "background": decode(clean(background, noise["background"])),
        "foreground": decode_rgba(clean(foreground, noise["foreground"])),
    }
    tensors = own | inputs | expected
    as_numpy = lambda key, t: t.contiguous().numpy().astype(np.float32 if key in expected else np.float16)
    make_vae.save_file({key: as_numpy(key, t) for key, t in tensors.items()}, make_vae.HERE / "latent.safetensors")


main()
