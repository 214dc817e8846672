"""Times the same network in PyTorch and in this crate, one after the other in one run, and prints the ratios.

    pip install torch numpy
    python against_torch.py [--threads 1] [--rounds 4] [--repeat 3] [--preset small] [--binary step_time]
    python against_torch.py --device cuda [--rounds 4] [--repeat 20] [--peel target/release/peel]

Each round times PyTorch, then the crate; the shortest time of all rounds counts on either side, so that other work on the
machine disturbs both alike.

PyTorch runs eagerly in f32 and under bf16 autocast, channels last; the better of the two counts. Its condition pass skips
what the crate's skips (the last block's condition tokens go no further), so that both do the same work.

On a card the network is the one that ships, compiled (`torch.compile`, which fuses and records CUDA graphs) with PyTorch's own attention, in
bf16; the crate's is `peel bench model --steps 1`. Either counts from plates in ordinary memory to layers in ordinary memory.
"""

import argparse
import json
import math
import os
import pathlib
import re
import subprocess
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

ROOT = pathlib.Path(__file__).parents[3]
# Width, blocks, heads; channels of the stem, and of the head's last layer.
NARROW = ((24, 48, 96, 128), 16)
PRESETS = {
    "small": (192, 6, 6, *NARROW),
    "tiny": (128, 4, 4, *NARROW),
    "shipped": (192, 2, 6, (48, 64, 96, 128), 48),
}
PATCH, INPUTS = 16, 7


class ConvBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm = nn.GroupNorm(max(1, outputs // 16), outputs)

    def forward(self, x):
        return F.silu(self.norm(self.conv(x)))


class Block(nn.Module):
    def __init__(self, width, heads, last):
        super().__init__()
        self.width, self.heads, self.last = width, heads, last
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.noisy = nn.Parameter(torch.randn(2, 3, width) * 0.1)
        self.condition = nn.Parameter(torch.randn(2, 3, width) * 0.1)

    def project(self, x, m):
        n, t, _ = x.shape
        x = F.layer_norm(x, (self.width,)) * (1 + m[..., 1:2, :]) + m[..., 0:1, :]
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        norm = lambda u: F.layer_norm(u, u.shape[-1:]).to(v.dtype)
        return norm(q), norm(k), v

    def attend(self, q, k, v):
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def feed(self, x, m):
        y = F.layer_norm(x, (self.width,)) * (1 + m[..., 1:2, :]) + m[..., 0:1, :]
        return x + m[..., 2:3, :] * self.down(F.gelu(self.up(y), approximate="tanh"))

    def forward(self, c, x, time):
        m = time + self.noisy
        qc, kc, vc = self.project(c, self.condition[0])
        if not self.last:
            c = c + self.condition[0, 2] * self.attend(qc, kc, vc)
            c = self.feed(c, self.condition[1])
        qx, kx, vx = self.project(x, m[:, 0])
        x = x + m[:, 0, 2:3] * self.attend(qx, torch.cat([kc, kx], 2), torch.cat([vc, vx], 2))
        return c, self.feed(x, m[:, 1])


class Network(nn.Module):
    def __init__(self, width, depth, heads, stem, fine):
        super().__init__()
        self.width = width
        area = PATCH * PATCH
        self.stem = nn.ModuleList(ConvBlock(i, o, 2) for i, o in zip((INPUTS, *stem), stem))
        self.plate, self.mask = nn.Linear(stem[3], width), nn.Linear(area, width)
        self.background, self.foreground = nn.Linear(3 * area, width), nn.Linear(4 * area, width)
        self.types = nn.Parameter(torch.randn(4, width) * 0.5)
        self.time_in, self.time_out = nn.Linear(256, width), nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(Block(width, heads, i + 1 == depth) for i in range(depth))
        self.tokens = nn.Linear(2 * width, stem[3])
        levels = [(stem[3 - i] + stem[2 - i], stem[2 - i]) for i in range(3)]
        self.levels = nn.ModuleList(nn.Sequential(ConvBlock(i, o), ConvBlock(o, o)) for i, o in levels)
        self.fine, self.out = nn.Conv2d(stem[0] + INPUTS, fine, 3, 1, 1), nn.Conv2d(fine, 7, 3, 1, 1)

    def positions(self, rows, columns):
        frequency = torch.exp(-math.log(100) * torch.arange(self.width // 4) / (self.width // 4))
        steps = lambda n: torch.arange(n).float() * (8 / max(rows, columns))
        y, x = torch.meshgrid(steps(rows), steps(columns), indexing="ij")
        angles = [axis.reshape(-1, 1) * frequency for axis in (y, x)]
        return torch.cat([f for a in angles for f in (a.sin(), a.cos())], 1)

    def forward(self, plate, mask, background, foreground, t):
        n, _, h, w = plate.shape
        rows, columns = h // PATCH, w // PATCH
        filled = push_pull(plate, mask)
        x = torch.cat([plate, mask, filled], 1) * 2 - 1
        skips = [x.contiguous(memory_format=torch.channels_last)]
        for stage in self.stem:
            skips.append(stage(skips[-1]))
        patches = lambda u: F.pixel_unshuffle(u, PATCH).flatten(2).transpose(1, 2)
        place = self.positions(rows, columns)
        c = self.plate(skips[4].flatten(2).transpose(1, 2)) + self.mask(patches(mask * 2 - 1))
        c = c + 2 * place + self.types[0] + self.types[1]
        tokens = [self.background(patches(background)) + place + self.types[2]]
        tokens.append(self.foreground(patches(foreground)) + place + self.types[3])
        x = torch.cat(tokens, 1)
        angle = 1000 * t[:, None] * torch.exp(-math.log(1000) * torch.arange(128) / 128)
        time = self.time_out(F.silu(self.time_in(torch.cat([angle.cos(), angle.sin()], 1))))
        time = time.view(n, 2, 3, self.width)
        for block in self.blocks:
            c, x = block(c, x, time)
        x = F.layer_norm(x, (self.width,))
        half = rows * columns
        x = self.tokens(torch.cat([x[:, :half], x[:, half:]], 2)).transpose(1, 2).reshape(n, -1, rows, columns)
        double = lambda u: F.interpolate(u, scale_factor=2, mode="nearest")
        for i, level in enumerate(self.levels):
            x = level(torch.cat([double(x), skips[3 - i]], 1))
        delta = self.out(F.silu(self.fine(torch.cat([double(x), skips[0]], 1)))).float() / 2
        return filled + delta[:, :3], torch.cat([mask * plate, mask], 1) + delta[:, 3:]


@torch.no_grad()
def push_pull(values, mask):
    known = 1 - F.max_pool2d(mask, 5, 1, 2)
    levels = [(values * known, known)]
    while levels[-1][0].shape[-1] > 1:
        values, known = (F.avg_pool2d(u, 2) for u in levels[-1])
        gain = (known * 4).clamp(max=1) / known.clamp(min=1e-8)
        levels.append((values * gain, known * gain))
    filled = levels[-1][0] / levels[-1][1].clamp(min=1e-6)
    for values, known in reversed(levels[:-1]):
        filled = values + (1 - known) * F.interpolate(filled, scale_factor=2, mode="bilinear")
    return filled


def best(repeat, work):
    """Shortest CPU time of this process over some runs, in milliseconds, divided by the threads that share it."""
    shortest = math.inf
    for _ in range(repeat):
        start = time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
        work()
        end = time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()
        shortest = min(shortest, (end - start) * 1e3)
    return shortest


def torch_times(preset, repeat):
    network = Network(*PRESETS[preset]).to(memory_format=torch.channels_last)
    times = {}
    for size, batch in [(64, 16), (128, 16), (128, 1), (256, 1)]:
        plate, mask = torch.rand(batch, 3, size, size), (torch.rand(batch, 1, size, size) > 0.5).float()
        inputs = plate, mask, torch.randn_like(plate), torch.randn(batch, 4, size, size), torch.full((batch,), 0.3)
        for bf16 in (False, True):
            def call():
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    return network(*inputs)

            def forward():
                with torch.no_grad():
                    call()

            def step():
                network.zero_grad(set_to_none=True)
                sum(u.square().mean() for u in call()).backward()

            kind = "bf16" if bf16 else "f32"
            times[size, batch, "forward", kind] = best(repeat, forward)
            if batch > 1:
                times[size, batch, "step", kind] = best(repeat, step)
    return times


def on_card(network, inputs, repeat):
    """The shortest time of a call on a card, from the CPU's memory to the CPU's memory, in milliseconds."""
    shortest = math.inf
    for _ in range(repeat):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            said = network(*(u.to("cuda", non_blocking=True) for u in inputs))
        for u in said:
            u.cpu()
        shortest = min(shortest, (time.perf_counter() - start) * 1e3)
    return shortest


def cards(options):
    """Rounds of PyTorch and of the crate on the card, and the ratios of the shortest times."""
    with torch.device("cuda"):
        network = Network(*PRESETS["shipped"]).to(memory_format=torch.channels_last).eval()
    compiled = torch.compile(network, mode="max-autotune")
    theirs, ours = {}, {}
    # What positions and the hole's filling make on the way belongs on the card, too.
    with torch.device("cuda"):
        for _ in range(options.rounds):
            for size, batch in [(128, 1), (128, 16), (512, 1), (512, 8), (1024, 1)]:
                shapes = [(batch, 3, size, size), (batch, 1, size, size), (batch, 3, size, size), (batch, 4, size, size)]
                inputs = [torch.rand(shape, device="cpu") for shape in shapes] + [torch.full((batch,), 0.3, device="cpu")]
                inputs[1] = (inputs[1] > 0.5).float()
                inputs = [u.pin_memory() for u in inputs]
                for kind, work in (("eager", network), ("compiled", compiled)):
                    on_card(work, inputs, 3)  # compiles, and warms up
                    keep_shortest(theirs, {(size, batch, kind): on_card(work, inputs, options.repeat)})
                command = [options.peel, "bench", "model", "--device", "cuda", "--json", "--steps", "1"]
                command += ["--size", f"{size}x{size}", "--batch", str(batch), "--repeat", str(options.repeat)]
                text = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout
                found = json.loads(text)
                keep_shortest(ours, {(size, batch): found["all_s"] * 1e3})
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, one call, ms")
    print(f"{'px':>4} {'batch':>5} {'eager':>10} {'compiled':>10} {'crate':>8} {'ratio':>6}")
    for (size, batch), mine in ours.items():
        eager, compiled = (theirs[size, batch, kind] for kind in ("eager", "compiled"))
        print(f"{size:4} {batch:5} {eager:10.3f} {compiled:10.3f} {mine:8.3f} {mine / min(eager, compiled):6.2f}")


def built():
    command = ["cargo", "build", "--release", "--quiet", "-p", "peel-layerdecomp", "--example", "step_time"]
    subprocess.run(command, cwd=ROOT, check=True)
    return ROOT / "target/release/examples/step_time"


def crate_times(binary, preset, repeat, threads):
    # As the crate's documentation advises for long runs; PyTorch keeps its own buffers.
    malloc = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000"}
    environment = os.environ | malloc | {"RAYON_NUM_THREADS": str(threads)}
    text = subprocess.run([binary, str(repeat), preset], cwd=ROOT, env=environment, check=True, text=True,
                          stdout=subprocess.PIPE).stdout
    times = {}
    for line in text.splitlines():
        if match := re.match(r"\s+(\d+) px, batch\s+(\d+): forward\s+([\d.]+) ms", line):
            size, batch = int(match[1]), int(match[2])
            times[size, batch, "forward"] = float(match[3])
            if step := re.search(r"with backward\s+([\d.]+) ms", line):
                times[size, batch, "step"] = float(step[1])
    return times


def keep_shortest(times, more):
    for key, time_ in more.items():
        times[key] = min(times.get(key, math.inf), time_)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--binary", help="a built example step_time; left out, cargo builds it")
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--peel", default="target/release/peel", help="built with --features cuda")
    options = parser.parse_args()
    if options.device == "cuda":
        cards(options)
        return
    torch.set_num_threads(options.threads)
    binary = options.binary or built()
    theirs, ours = {}, {}
    for _ in range(options.rounds):
        keep_shortest(theirs, torch_times(options.preset, options.repeat))
        keep_shortest(ours, crate_times(binary, options.preset, options.repeat, options.threads))
    print(f"{options.preset}, {options.threads} thread(s), torch {torch.__version__}, ms")
    print(f"{'px':>4} {'batch':>5} {'what':>8} {'torch f32':>10} {'torch bf16':>10} {'crate':>8} {'ratio':>6}")
    for (size, batch, what), mine in ours.items():
        f32, bf16 = (theirs[size, batch, what, kind] for kind in ("f32", "bf16"))
        print(f"{size:4} {batch:5} {what:>8} {f32:10.1f} {bf16:10.1f} {mine:8.1f} {mine / min(f32, bf16):6.2f}")


main()
