"""Runs `peel decompose` on every held-out case and keeps the backgrounds, as a column for the evaluation.

    pip install OpenEXR numpy pillow
    python crates/train/scripts/peel_backgrounds.py local/eval20 local/eval20-peel [--peel target/release/peel] [-- ARGS]
    peel eval local/eval20 --files peel=local/eval20-peel ...

Reads ID_C.png and ID_M.png, writes OUT/layers/ID.exr (the stack) and OUT/ID.png (its background, as a display shows it).
Arguments after `--` go to `peel decompose`. Prints the largest difference between over of the layers and the flattened picture.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import OpenEXR
from PIL import Image


def layer(channels, name, shape):
    """A layer's RGBA over the whole frame; the parts' data windows are tight."""
    out = np.zeros((*shape, 4), np.float32)
    for index, suffix in enumerate("RGBA"):
        (x, y), pixels = channels[f"{name}.{suffix}" if name else suffix]
        out[y : y + pixels.shape[0], x : x + pixels.shape[1], index] = pixels
    return out


def to_display(linear):
    """Linear to sRGB, 8 bits."""
    value = np.clip(linear, 0, 1)
    value = np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
    return (value * 255 + 0.5).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--peel", default="target/release/peel")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, rest = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    (options.out / "layers").mkdir(parents=True, exist_ok=True)
    worst = 0.0
    for plate in sorted(options.cases.glob("*_C.png")):
        case = plate.name.removesuffix("_C.png")
        stack = options.out / "layers" / f"{case}.exr"
        mask = options.cases / f"{case}_M.png"
        command = [options.peel, "decompose", plate, "--mask", f"object={mask}", "-o", stack, "--progress", "none"]
        subprocess.run([*command, *rest], check=True)
        with OpenEXR.File(str(stack), separate_channels=True) as file:
            channels = {
                name: (part.header["dataWindow"][0], channel.pixels.astype(np.float32))
                for part in file.parts
                for name, channel in part.channels.items()
            }
        shape = channels["R"][1].shape
        flat, background, top = (layer(channels, name, shape) for name in ("", "background", "object"))
        over = top + background * (1 - top[..., 3:])
        worst = max(worst, float(np.abs(over.astype(np.float16).astype(np.float32) - flat).max()))
        Image.fromarray(to_display(background[..., :3])).save(options.out / f"{case}.png")
    print(f"over of the layers against the flattened picture: max difference {worst:g}")


if __name__ == "__main__":
    main()
