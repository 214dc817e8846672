"""Renders triplets to train on: a plate, the same without one thing, the thing's mask and the layer between.

    local/sources/venv/bin/python crates/train/scripts/render/render.py --count 500 --seed 1 --out local/rendered

Needs Debian's `blender` (3.4) and, in the Python that runs this, numpy, pillow, OpenEXR and pyoidn. Models and pictures are what
fetch_sources.sh fetched and packed, of one side of the split alone. Writes ID_C, ID_B, ID_M, ID_L (lossless WebP, display-referred
sRGB) and index.json; make_pool.py takes the folder. The same call goes on where it was stopped; a seed makes the same scenes,
to a few 255ths here and there that the denoiser leaves to chance.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import OpenEXR
import pyoidn
from PIL import Image

from layer import exposure, smallest_layer, srgb, useless

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
# `split.py` lies one folder up.
sys.path.insert(0, str(HERE.parent))

from sources import unpack  # noqa: E402

# Scenes of one process of Blender: it starts in a second, and what it leaks dies with it.
BATCH = 8
# A scene that takes longer hangs.
SECONDS = 600


def light(path: Path):
    """Scene-linear RGB of a rendering, denoised."""
    channels = OpenEXR.File(str(path), separate_channels=True).parts[0].channels
    albedo, normal = read(channels, "Denoising Albedo", "RGB"), read(channels, "Denoising Normal", "XYZ")
    return pyoidn.denoise(read(channels, "Combined", "RGB"), albedo=np.clip(albedo, 0, 1), normal=normal, hdr=True)


def read(channels, ending, letters):
    names = [next(n for n in channels if n.endswith(f"{ending}.{letter}")) for letter in letters]
    return np.ascontiguousarray(np.stack([np.asarray(channels[n].pixels, np.float32) for n in names], -1))


def finish(folder: Path, number: int, dice, out: Path, name: str, held_out: bool) -> dict:
    """Makes the triplet of one scene, and tells its facts; of a useless one it writes nothing but why."""
    facts = json.loads((folder / f"{number}.json").read_text())
    facts["held_out"] = held_out
    if not facts["unused"]:
        plate, background = light(folder / f"{number}_C.exr"), light(folder / f"{number}_B.exr")
        mask = np.asarray(Image.open(folder / f"{number}_M.png"))[..., 3] / np.float32(255)
        exposed = exposure(background, dice)
        plate, background = srgb(plate * exposed), srgb(background * exposed)
        colour, alpha = smallest_layer(plate, background, mask)
        facts["unused"] = useless(background, alpha)
    if not facts["unused"]:
        for letter, picture in zip("CBML", (plate, background, mask, np.dstack([colour, alpha]))):
            bytes = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
            Image.fromarray(bytes).save(out / f"{name}_{letter}.webp", lossless=True, method=2, exact=True)
    # Written last: a scene without it is rendered again.
    (out / f"{name}.json").write_text(json.dumps(facts))
    return facts


def blender(call, seconds: int):
    """The exit code of a call (below 0: the signal that ended it; that of one that took too long is 9), and what it printed."""
    try:
        run = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=seconds)
        return run.returncode, run.stdout
    except subprocess.TimeoutExpired:
        return -9, ""


def batch(asked, numbers) -> None:
    """Renders these scenes. There are models that bring Blender down; their scenes are left out, and it goes on with the next."""
    while numbers:
        with tempfile.TemporaryDirectory() as folder:
            site = str(Path(np.__file__).parents[1])
            call = ["blender", "-b", "--factory-startup", "--python-exit-code", "3", "--python", HERE / "blender.py", "--"]
            told = dict(site=site, numbers=",".join(map(str, numbers)), out=folder)
            told["held-out"] = int(asked.held_out)
            told |= {k: getattr(asked, k) for k in ("seed", "size", "samples", "furniture", "models", "pool")}
            for key, value in told.items():
                call += [f"--{key}", str(value)]
            code, said = blender(list(map(str, call)), SECONDS * len(numbers))
            done = [n for n in numbers if (Path(folder) / f"{n}.json").exists()]
            for number in done:
                name = f"s{asked.seed}_{number:05}"
                facts = finish(Path(folder), number, random.Random(f"{asked.seed} {number}"), asked.out, name, asked.held_out)
                print(name, facts["target"], facts["light"], facts["unused"], flush=True)
        numbers = numbers[len(done) :]
        if numbers and code > 0:
            raise SystemExit(f"Blender ended with {code}:\n{said[-1500:]}")
        if numbers:
            name = f"s{asked.seed}_{numbers.pop(0):05}"
            print(name, f"Blender was brought down by signal {-code}", flush=True)
            (asked.out / f"{name}.json").write_text(json.dumps(dict(unused="Blender broke down", held_out=asked.held_out)))


def main():
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("--count", type=int, default=8, help="scenes; about one in ten is of no use and left out. One takes about 6 CPU-seconds")
    told.add_argument("--seed", type=int, default=1)
    told.add_argument("--size", type=int, default=208, help="pixels of a side")
    told.add_argument("--samples", type=int, default=12, help="paths per pixel, before denoising")
    told.add_argument("--jobs", type=int, default=2, help="processes of Blender side by side, one thread each")
    told.add_argument("--held-out", action="store_true", help="of held-out models and pictures alone: to evaluate on, never to train on")
    told.add_argument("--furniture", type=Path, default=ROOT / "local/sources/x/usr/share/sweethome3d/furniture")
    told.add_argument("--models", type=Path, default=ROOT / "local/models", help="where the furniture is unpacked to")
    told.add_argument("--pool", type=Path, default=ROOT / "local/pool", help="grounds and walls; need not have triplets yet")
    told.add_argument("--out", type=Path, default=ROOT / "local/rendered")
    asked = told.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    unpack(asked.furniture, asked.models)
    missing = [n for n in range(asked.count) if not (asked.out / f"s{asked.seed}_{n:05}.json").exists()]
    batches = [missing[i : i + BATCH] for i in range(0, len(missing), BATCH)]
    with ThreadPoolExecutor(asked.jobs) as several:
        list(several.map(lambda numbers: batch(asked, numbers), batches))
    facts = {f.stem: json.loads(f.read_text()) for f in sorted(asked.out.glob("s*.json"))}
    used = {name: fact for name, fact in facts.items() if not fact["unused"]}
    (asked.out / "index.json").write_text(json.dumps(used, indent=0))
    print(f"{len(used)} triplets of {len(facts)} scenes in {asked.out}")


if __name__ == "__main__":
    main()
