"""Writes golden autoencoders, computed by diffusers' AutoencoderKL on random weights.

    pip install torch numpy safetensors diffusers
    python make_vae.py            # writes vae.safetensors beside itself

Weights are rounded to f16 and stored under the crate's names, convolutions as (3, 3, inputs, outputs).
"""

import math
import pathlib
import re

import numpy as np
import torch
from diffusers import AutoencoderKL
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
CHANNELS, BLOCKS, LATENT, GROUPS = (8, 8, 16), 1, 4, 4

random = np.random.default_rng(4711)

# diffusers' names to the crate's, in this order.
NAMES = [
    (r"(down|up)_blocks\.", "levels."),
    (r"resnets\.", "blocks."),
    (r"downsamplers\.0\.conv", "down"),
    (r"upsamplers\.0\.conv", "up"),
    (r"conv_shortcut", "shortcut"),
    (r"mid_block\.blocks\.0", "middle.first"),
    (r"mid_block\.blocks\.1", "middle.second"),
    (r"mid_block\.attentions\.0\.group_norm", "middle.attention.norm"),
    (r"mid_block\.attentions\.0\.to_out\.0", "middle.attention.out"),
    (r"mid_block\.attentions\.0\.to_", "middle.attention."),
    (r"conv_norm_out", "norm"),
]


def own_name(name):
    for pattern, replacement in NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def own_layout(tensor):
    if tensor.dim() == 4 and tensor.shape[2:] == (1, 1):
        return tensor[:, :, 0, 0]
    return tensor.permute(2, 3, 1, 0) if tensor.dim() == 4 else tensor


def start(name, shape):
    scale, offset = 0.1, 0.0
    if len(shape) > 1:
        scale = 1 / math.sqrt(math.prod(shape[1:]))
    elif "norm" in name and name.endswith("weight"):
        scale, offset = 0.2, 1.0
    values = random.standard_normal(shape) * scale + offset
    return torch.from_numpy(values.astype(np.float16).astype(np.float32))


def autoencoder(pictures):
    return AutoencoderKL(
        in_channels=pictures, out_channels=pictures, block_out_channels=CHANNELS, layers_per_block=BLOCKS,
        down_block_types=["DownEncoderBlock2D"] * len(CHANNELS), up_block_types=["UpDecoderBlock2D"] * len(CHANNELS),
        latent_channels=LATENT, norm_num_groups=GROUPS, use_quant_conv=False, use_post_quant_conv=False).eval()


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    files, half = {}, set()
    for prefix, pictures in (("rgb", 3), ("rgba", 4)):
        vae = autoencoder(pictures)
        vae.load_state_dict({name: start(name, tuple(t.shape)) for name, t in vae.state_dict().items()})
        for name, tensor in vae.state_dict().items():
            key = f"{prefix}.{own_name(name)}"
            files[key] = own_layout(tensor)
            half.add(key)
        x = start("", (2, pictures, 16, 24)) * 5
        files[f"{prefix}.input"] = x
        moments = vae.encode(x).latent_dist
        files[f"{prefix}.mean"], files[f"{prefix}.log_variance"] = moments.mean, moments.logvar
        files[f"{prefix}.output"] = vae.decode(moments.mean).sample
    as_numpy = lambda key, t: t.contiguous().numpy().astype(np.float16 if key in half else np.float32)
    save_file({key: as_numpy(key, t) for key, t in files.items()}, HERE / "vae.safetensors")


if __name__ == "__main__":
    main()
