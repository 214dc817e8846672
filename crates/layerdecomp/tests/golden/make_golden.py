"""Writes the golden tensors that the model's tests compare with, computed by PyTorch.

    pip install torch numpy safetensors
    python make_golden.py            # writes *.safetensors beside itself

Everything is seeded; a second run writes the same values. Weights and inputs are rounded to f16 so that the files stay
small, and both sides compute from the rounded values in f32. The network below is written from the description of the
architecture with torch's own operations only: it shares no code with the crate.
"""

import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
WIDTH, HEADS, DEPTH, RATIO, PATCH, STEM, FINE = 16, 2, 2, 2, 16, (8, 8, 16, 24), 16
N, H, W = 2, 32, 48
DILATE = 2

random = np.random.default_rng(20240)


def rounded(*shape, scale=1.0, offset=0.0):
    values = random.standard_normal(shape) * scale + offset
    return torch.from_numpy(values.astype(np.float16).astype(np.float32))


# --- weights, by field path ------------------------------------------------------------------------------------------

weights = {}


def linear_weights(name, inputs, outputs):
    weights[f"{name}.weight"] = rounded(outputs, inputs, scale=1 / math.sqrt(inputs))
    weights[f"{name}.bias"] = rounded(outputs, scale=0.1)


def conv_weights(name, inputs, outputs):
    weights[f"{name}.weight"] = rounded(3, 3, inputs, outputs, scale=1 / math.sqrt(9 * inputs))
    weights[f"{name}.bias"] = rounded(outputs, scale=0.1)


def block_weights(name, inputs, outputs):
    conv_weights(f"{name}.conv", inputs, outputs)
    weights[f"{name}.norm.weight"] = rounded(outputs, scale=0.2, offset=1.0)
    weights[f"{name}.norm.bias"] = rounded(outputs, scale=0.2)


def modulation_weights(name, gated=True):
    weights[f"{name}.shift_scale"] = rounded(2, WIDTH, scale=0.3)
    if gated:
        weights[f"{name}.gate"] = rounded(WIDTH, scale=0.2, offset=0.3)


INPUTS = 7
for i, channels in enumerate(STEM):
    block_weights(f"stem.{i}", INPUTS if i == 0 else STEM[i - 1], channels)
linear_weights("embed.plate", STEM[3], WIDTH)
linear_weights("embed.mask", PATCH * PATCH, WIDTH)
linear_weights("embed.background", 3 * PATCH * PATCH, WIDTH)
linear_weights("embed.foreground", 4 * PATCH * PATCH, WIDTH)
weights["stream_types"] = rounded(4, WIDTH, scale=0.5)
linear_weights("time.in", 256, WIDTH)
linear_weights("time.out", WIDTH, 6 * WIDTH)
for i in range(DEPTH):
    last = i + 1 == DEPTH
    for name, inputs, outputs in [("qkv", WIDTH, 3 * WIDTH), ("out", WIDTH, WIDTH),
                                  ("up", WIDTH, RATIO * WIDTH), ("down", RATIO * WIDTH, WIDTH)]:
        linear_weights(f"blocks.{i}.{name}", inputs, outputs)
    modulation_weights(f"blocks.{i}.noisy.attention")
    modulation_weights(f"blocks.{i}.noisy.feed")
    modulation_weights(f"blocks.{i}.condition.attention", gated=not last)
    if not last:
        modulation_weights(f"blocks.{i}.condition.feed")
linear_weights("head.tokens", 2 * WIDTH, STEM[3])
for i in range(3):
    block_weights(f"head.levels.{i}.up", STEM[3 - i] + STEM[2 - i], STEM[2 - i])
    block_weights(f"head.levels.{i}.refine", STEM[2 - i], STEM[2 - i])
conv_weights("head.fine", STEM[0] + INPUTS, FINE)
conv_weights("head.out", FINE, 7)

# --- the network -----------------------------------------------------------------------------------------------------


def linear(name, x):
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def conv(name, x, stride=1):
    kernel = weights[f"{name}.weight"].permute(3, 2, 0, 1).contiguous()
    return F.conv2d(x, kernel, weights[f"{name}.bias"], stride, 1)


def conv_block(name, x, stride=1):
    x = conv(f"{name}.conv", x, stride)
    norm_weight, norm_bias = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
    return F.silu(F.group_norm(x, max(1, x.shape[1] // 16), norm_weight, norm_bias))


def push_pull(values, mask, dilate):
    """Averages of known pixels up a pyramid, bilinear interpolation down it; any size."""
    known = 1 - F.max_pool2d(mask, 2 * dilate + 1, 1, dilate)
    values = values * known
    levels = [(values, known)]
    while max(values.shape[2:]) > 1:
        # Edges of odd sides: blocks of fewer pixels, averaged over those that exist.
        reduce = lambda x: F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        pixels = F.avg_pool2d(torch.ones_like(known), 2, ceil_mode=True, divisor_override=1)
        values, known = reduce(values), reduce(known)
        gain = (known * pixels).clamp(max=1) / known.clamp(min=1e-8)
        values, known = values * gain, known * gain
        levels.append((values, known))
    filled = values / known.clamp(min=1e-6)
    for values, known in reversed(levels[:-1]):
        h, w = values.shape[2:]
        finer = F.interpolate(filled, scale_factor=2, mode="bilinear", align_corners=False)[:, :, :h, :w]
        filled = values + (1 - known) * finer
    return filled


def patches(x):
    return F.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)


def positions(rows, columns):
    quarter = WIDTH // 4
    frequency = torch.exp(-math.log(100) * torch.arange(quarter, dtype=torch.float64) / quarter)
    scale = 8 / max(rows, columns)
    y, x = torch.meshgrid(torch.arange(rows).double() * scale, torch.arange(columns).double() * scale, indexing="ij")
    features = []
    for axis in (y, x):
        angle = axis.reshape(-1, 1) * frequency
        features += [angle.sin(), angle.cos()]
    return torch.cat(features, 1).float()


def times(time):
    half = 128
    frequency = torch.exp(-math.log(1000) * torch.arange(half, dtype=torch.float64) / half)
    angle = time[:, None].double() * 1000 * frequency[None]
    return torch.cat([angle.cos(), angle.sin()], 1).float()


def norm(x):
    return F.layer_norm(x, (x.shape[-1],))


def modulated(x, shift_scale):
    return norm(x) * (1 + shift_scale[..., 1:2, :]) + shift_scale[..., 0:1, :]


def heads(x):
    n, t, _ = x.shape
    q, k, v = x.reshape(n, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
    return norm(q), norm(k), v


def attend(q, k, v):
    out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)


def feed(i, x, shift_scale, gate):
    y = F.gelu(linear(f"blocks.{i}.up", modulated(x, shift_scale)), approximate="tanh")
    return x + gate * linear(f"blocks.{i}.down", y)


def transformer(c, x, time, cached, depth=DEPTH):
    """Tokens of conditions and noisy layers; returns the condition's projections and the normalised output."""
    m = linear("time.out", F.silu(linear("time.in", times(time)))).reshape(-1, 2, 3, WIDTH)
    projections = []
    for i in range(depth):
        at = lambda part: weights[f"blocks.{i}.{part}"]
        qkv_c = linear(f"blocks.{i}.qkv", modulated(c, at("condition.attention.shift_scale")))
        qkv_x = linear(f"blocks.{i}.qkv", modulated(x, m[:, 0, :2] + at("noisy.attention.shift_scale")))
        projections.append(qkv_c)
        (qc, kc, vc), (qx, kx, vx) = heads(qkv_c), heads(qkv_x)
        k, v = torch.cat([kc, kx], 2), torch.cat([vc, vx], 2)
        found_x = attend(qx, k, v)
        if i + 1 < DEPTH:
            found_c = attend(qc, kc, vc) if cached else attend(qc, k, v)
            c = c + at("condition.attention.gate") * linear(f"blocks.{i}.out", found_c)
            c = feed(i, c, at("condition.feed.shift_scale"), at("condition.feed.gate"))
        gate = (m[:, 0, 2] + at("noisy.attention.gate"))[:, None]
        x = x + gate * linear(f"blocks.{i}.out", found_x)
        gate = (m[:, 1, 2] + at("noisy.feed.gate"))[:, None]
        x = feed(i, x, m[:, 1, :2] + at("noisy.feed.shift_scale"), gate)
    return projections, norm(x)


def stem(plate, mask, filled):
    skips = [torch.cat([plate * 2 - 1, mask * 2 - 1, filled * 2 - 1], 1)]
    for i in range(4):
        skips.append(conv_block(f"stem.{i}", skips[-1], 2))
    return skips


def head(tokens, skips, rows, columns):
    x = linear("head.tokens", tokens).transpose(1, 2).reshape(N, -1, rows, columns)
    double = lambda x: F.interpolate(x, scale_factor=2, mode="nearest")
    for i in range(3):
        x = conv_block(f"head.levels.{i}.up", torch.cat([double(x), skips[3 - i]], 1))
        x = conv_block(f"head.levels.{i}.refine", x)
    x = F.silu(conv("head.fine", torch.cat([double(x), skips[0]], 1)))
    return conv("head.out", x)


def network(plate, mask, background, foreground, time, cached, fold, keep):
    filled = push_pull(plate, mask, DILATE)
    skips = stem(plate, mask, filled)
    rows, columns = H // PATCH, W // PATCH
    place, types = positions(rows, columns), weights["stream_types"]
    plate_tokens = linear("embed.plate", skips[4].flatten(2).transpose(1, 2))
    mask_tokens = linear("embed.mask", patches(mask * 2 - 1))
    background_tokens = linear("embed.background", patches(background))
    foreground_tokens = linear("embed.foreground", patches(foreground))
    c = [plate_tokens + place + types[0], mask_tokens + place + types[1]]
    c = c[0] + c[1] if fold else torch.cat(c, 1)
    x = torch.cat([background_tokens + place + types[2], foreground_tokens + place + types[3]], 1)
    projections, tokens = transformer(c, x, time, cached)
    half = rows * columns
    delta = head(torch.cat([tokens[:, :half], tokens[:, half:]], 2), skips, rows, columns)
    out_background = filled + delta[:, :3] / 2
    out_foreground = torch.cat([mask * plate, mask], 1) + delta[:, 3:] / 2
    if keep is not None:
        keep["patches.plate"], keep["patches.mask"] = plate_tokens, mask_tokens
        keep["patches.background"], keep["patches.foreground"] = background_tokens, foreground_tokens
        keep["tokens.condition"], keep["tokens.noisy"] = c, x
        keep["block.projection"] = projections[1]
        keep["block.output"] = transformer(c, x, time, cached, depth=1)[1]
        keep["transformer.output"] = tokens
    return out_background, out_foreground


# --- the refiner: alpha at SCALE times the model's resolution ------------------------------------------------------------

REFINE_WIDTH, SCALE = 4, 4


def refiner_weights():
    w, inputs = REFINE_WIDTH, 14
    block_weights("refine.enter", inputs, w)
    block_weights("refine.down", w, 2 * w)
    block_weights("refine.middle", 2 * w, 2 * w)
    block_weights("refine.up", 3 * w, w)
    conv_weights("refine.fine", w + inputs, w)
    conv_weights("refine.out", w, 1)
    return {name: weights[name] for name in weights if name.startswith("refine.")}


def refined(plate, mask, background, foreground):
    double = lambda x: F.interpolate(x, scale_factor=2, mode="nearest")
    said = F.interpolate(torch.cat([background, foreground], 1), scale_factor=SCALE, mode="bilinear", align_corners=False)
    background, front, alpha = said[:, :3], said[:, 3:6], said[:, 6:]
    inputs = torch.cat([plate, mask, said, plate - front - (1 - alpha) * background], 1)
    half = conv_block("refine.enter", inputs, 2)
    quarter = conv_block("refine.middle", conv_block("refine.down", half, 2))
    half = conv_block("refine.up", torch.cat([double(quarter), half], 1))
    fine = F.silu(conv("refine.fine", torch.cat([double(half), inputs], 1)))
    return alpha + conv("refine.out", fine)


# --- noise: Philox4x32-10 and Box-Muller, from their definitions ----------------------------------------------------------


def philox(counter, key):
    counter, key = list(counter), list(key)
    for _ in range(10):
        a, b = counter[0] * 0xD2511F53, counter[2] * 0xCD9E8D57
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & 0xFFFFFFFF, (a >> 32) ^ counter[3] ^ key[1], a & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def normal(seed, stream, count):
    values = []
    for index in range((count + 3) // 4):
        words = philox([index, 0, stream, 0], [seed, 0])
        for a, b in (words[:2], words[2:]):
            radius = math.sqrt(-2 * math.log((a + 0.5) / 2**32))
            angle = 2 * math.pi * b / 2**32
            values += [radius * math.cos(angle), radius * math.sin(angle)]
    return torch.tensor(values[:count], dtype=torch.float32)


def ddim(seed, steps, n, h, w):
    """DDIM written with the predicted noise, over a denoiser that is a known function of z and s."""
    start = lambda layer, c: torch.stack([normal(seed, 2 * i + layer, c * h * w).reshape(c, h, w) for i in range(n)])
    z = [start(0, 3), start(1, 4)]
    for step in range(steps):
        s, after = step / steps, (step + 1) / steps
        # Clean layers in 0..1.
        x = [0.25 * torch.tanh(z[0]) + 0.5 + 0.1 * s, 0.125 * torch.tanh(2 * z[1]) + 0.4 - 0.2 * s]
        if step + 1 == steps:
            return [v.clamp(0, 1) for v in x]
        signed = [2 * v - 1 for v in x]
        noise = [(a - s * b) / (1 - s) for a, b in zip(z, signed)]
        z = [after * b + (1 - after) * e for b, e in zip(signed, noise)]


# --- files -------------------------------------------------------------------------------------------------------------


def write(name, tensors, half=()):
    as_numpy = lambda key, t: t.detach().contiguous().numpy().astype(np.float16 if key in half else np.float32)
    save_file({key: as_numpy(key, t) for key, t in tensors.items()}, HERE / name)


def main():
    torch.set_num_threads(1)
    inputs = {
        "input.plate": rounded(N, 3, H, W, scale=0.2, offset=0.5).clamp(0, 1),
        "input.mask": torch.zeros(N, 1, H, W),
        "input.background": rounded(N, 3, H, W),
        "input.foreground": rounded(N, 4, H, W),
        "input.time": torch.tensor([0.0, 0.625]),
    }
    inputs["input.mask"][0, 0, 5:20, 9:30] = 1
    inputs["input.mask"][1, 0, 12:32, 30:48] = 0.75
    arguments = list(inputs.values())

    expected = {}
    # Pictures of the second sample only, to keep the file small; its time is not 0.
    background, foreground = network(*arguments, cached=True, fold=True, keep=expected)
    expected["background"], expected["foreground"] = background[1:], foreground[1:]
    background, _ = network(*arguments, cached=False, fold=False, keep=None)
    expected["joint.background"] = background[1:]
    write("weights.safetensors", weights, half=weights)
    write("model.safetensors", inputs | expected, half=inputs)

    fills = {}
    for h, w, dilate, masked in [(16, 16, 2, 0.02), (13, 30, 0, 0.6), (1, 7, 1, 0.3)]:
        values = rounded(1, 2, h, w)
        mask = torch.from_numpy(random.random((1, 1, h, w)) < masked).float()
        assert mask.sum() > 0
        fills |= {f"{h}x{w}.values": values, f"{h}x{w}.mask": mask}
        fills[f"{h}x{w}.filled"] = push_pull(values, mask, dilate)
    write("push_pull.safetensors", fills)

    background, foreground = ddim(seed=42, steps=5, n=2, h=4, w=6)
    write("ddim.safetensors", {"background": background, "foreground": foreground})

    own = refiner_weights()
    said = {
        "background": rounded(N, 3, H // SCALE, W // SCALE, scale=0.2, offset=0.5),
        "foreground": rounded(N, 4, H // SCALE, W // SCALE, scale=0.2, offset=0.3),
    }
    alpha = refined(inputs["input.plate"], inputs["input.mask"], *said.values())
    write("refine.safetensors", own | said | {"alpha": alpha}, half=own.keys() | said.keys())


if __name__ == "__main__":
    main()
