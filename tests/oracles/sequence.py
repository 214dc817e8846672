"""What a sequence gains from frames that help each other out, on a shot whose clean plates are known.

    python3 tests/oracles/sequence.py SHOT [--peel target/release/peel] [--strip strip.png]

SHOT holds plate.####.exr, matte_ball.####.exr, matte_bear.####.exr, noball.1001.exr (only the ball gone) and clean.1001.exr (both
gone), the same for every frame. Renders the shot with `peel decompose` as it is, with each `--motion` and with `--made-up`, reads the
layers with OpenEXR, and prints, for the background without the ball and the one without both:

  PSNR in dB of sRGB-encoded values, over the whole picture, inside the object, in its effect (plate and clean plate differ by more
  than 0.03) and outside;
  flicker: the mean absolute difference of consecutive backgrounds, in thousandths, where either frame has object or effect,
  less the same of the true clean plates (which is 0 here: the camera stands still).

Makes its own virtual environment under local/ the first time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / "local" / "venv-sequence"

try:
    import numpy as np
    import OpenEXR
except ImportError:
    python = VENV / "bin" / "python"
    if Path(sys.prefix).resolve() == VENV.resolve():
        raise
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "numpy", "OpenEXR", "pillow"], check=True)
    os.execv(python, [str(python), *sys.argv])

FRAMES = range(1001, 1009)
EFFECT = 0.03


def shown(linear):
    """Linear light as a display shows it."""
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def read(path, layer, shape=None):
    """A layer's RGBA over the frame; 0 where it has no pixels, and alpha 1 where it has none of its own."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        (fx0, fy0), (fx1, fy1) = file.parts[0].header["displayWindow"]
        height, width = int(fy1 - fy0 + 1), int(fx1 - fx0 + 1)
        out = np.zeros((height, width, 4), np.float32)
        found = False
        for part in file.parts:
            (x0, y0), _ = part.header["dataWindow"]
            for index, channel in enumerate("RGBA"):
                name = f"{layer}.{channel}" if layer else channel
                if name in part.channels:
                    pixels = part.channels[name].pixels
                    x, y = int(x0 - fx0), int(y0 - fy0)
                    out[y : y + pixels.shape[0], x : x + pixels.shape[1], index] = pixels
                    found |= index < 3 or channel == "A"
            if layer == "" and "A" not in part.channels and "R" in part.channels:
                out[..., 3] = 1
    if not found:
        raise SystemExit(f"{path}: no layer {layer!r}")
    return out


def matte(path):
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return file.parts[0].channels["A"].pixels.astype(np.float32)


def over(above, below):
    return above + below * (1 - above[..., 3:])


def render(peel, shot, folder, motion):
    """Backgrounds without the ball, and without both, by frame."""
    stack = folder / "stack.####.exr"
    command = [peel, "decompose", shot / "plate.####.exr", "-o", stack, "--progress", "none"]
    command += ["--mask", f"ball={shot}/matte_ball.####.exr", "--mask", f"bear={shot}/matte_bear.####.exr"]
    subprocess.run([str(part) for part in command + motion], check=True, stdout=subprocess.DEVNULL)
    noball, clean = [], []
    for frame in FRAMES:
        path = folder / f"stack.{frame}.exr"
        background = read(path, "background")
        clean.append(shown(background[..., :3]))
        noball.append(shown(over(read(path, "bear"), background)[..., :3]))
    return noball, clean


def psnr(found, truth, where):
    error = np.mean([np.mean((a - truth)[mask] ** 2) for a, mask in zip(found, where) if mask.any()])
    return -10 * np.log10(max(error, 1e-12))


def table(name, found, truth, plates, objects):
    effects = [(np.abs(plate - truth).max(-1) > EFFECT) & ~mask for plate, mask in zip(plates, objects)]
    outside = [~(mask | effect) for mask, effect in zip(objects, effects)]
    flicker = []
    for t in range(1, len(found)):
        where = objects[t] | effects[t] | objects[t - 1] | effects[t - 1]
        # The true clean plate is the same for every frame, so that its own difference is 0.
        flicker.append(np.abs(found[t] - found[t - 1])[where].mean())
    whole = [np.ones_like(mask) for mask in objects]
    figures = "".join(f" {psnr(found, truth, where):8.2f}" for where in (whole, objects, effects, outside))
    print(f"{name:34}{figures} {1000 * np.mean(flicker):9.3f}")


def strip(path, rows):
    """Frames side by side, one row a method."""
    from PIL import Image

    lines = [np.concatenate([frame[::2, ::2] for frame in row], axis=1) for row in rows]
    Image.fromarray((np.concatenate(lines) * 255 + 0.5).astype(np.uint8)).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shot", type=Path)
    parser.add_argument("--peel", type=Path, default=ROOT / "target" / "release" / "peel")
    parser.add_argument("--strip", type=Path, help="a PNG with frames side by side, one row a method")
    parser.add_argument("--extra", nargs="*", default=[], help="more options of `peel decompose`")
    args = parser.parse_args()

    plates = [shown(read(args.shot / f"plate.{frame}.exr", "")[..., :3]) for frame in FRAMES]
    truth = {name: shown(read(args.shot / f"{name}.1001.exr", "")[..., :3]) for name in ("noball", "clean")}
    ball = [matte(args.shot / f"matte_ball.{frame}.exr") > 0.02 for frame in FRAMES]
    both = [matte(args.shot / f"matte_bear.{frame}.exr") > 0.02 for frame in FRAMES]
    both = [a | b for a, b in zip(both, ball)]
    methods = {
        "each frame on its own": ["--motion", "off"],
        "locked, no key frames": ["--motion", "locked", "--key-every", "0"],
        "locked": ["--motion", "locked"],
        "own, from the neighbour": ["--motion", "off", "--made-up", "neighbour", "--steps", "2"],
        "locked, from the neighbour": ["--motion", "locked", "--made-up", "neighbour", "--steps", "2"],
        "homography": ["--motion", "homography"],
    }
    print(f"{'dB; flicker in thousandths':34} {'whole':>8} {'object':>8} {'effect':>8} {'outside':>8} {'flicker':>9}")
    rows = [plates]
    for name, motion in methods.items():
        with tempfile.TemporaryDirectory() as folder:
            noball, clean = render(args.peel, args.shot, Path(folder), motion + args.extra)
        table(f"ball gone: {name}", noball, truth["noball"], plates, ball)
        table(f"both gone: {name}", clean, truth["clean"], plates, both)
        rows += [noball, clean]
    if args.strip:
        strip(args.strip, rows)


if __name__ == "__main__":
    main()
