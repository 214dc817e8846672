"""Renders scenes inside Blender: of each the alpha of one thing (PNG), the whole, and the whole without it (EXR, with what a denoiser wants to know).

`render.py` calls it. No other library may read EXR in this process: Blender's own and that of PyPI do not bear each other.
"""

import argparse
import json
import random
import sys
from pathlib import Path

TOLD = argparse.ArgumentParser(prog="blender.py")
TOLD.add_argument("--site", required=True, help="folder of packages with numpy, of a Python of Blender's version")
TOLD.add_argument("--numbers", required=True, help="scenes to render: 3,4,7")
TOLD.add_argument("--seed", type=int, required=True)
TOLD.add_argument("--size", type=int, required=True)
TOLD.add_argument("--samples", type=int, required=True)
TOLD.add_argument("--furniture", type=Path, required=True)
TOLD.add_argument("--models", type=Path, required=True)
TOLD.add_argument("--pool", type=Path, required=True)
TOLD.add_argument("--out", type=Path, required=True)
TOLD.add_argument("--held-out", type=int, required=True)
ASKED = TOLD.parse_args(sys.argv[sys.argv.index("--") + 1 :])
HERE = Path(__file__).resolve().parent
# `split.py` lies one folder up.
sys.path[:0] = [str(HERE), str(HERE.parent), ASKED.site]

import bpy  # noqa: E402
import numpy as np  # noqa: E402

from layer import uneven  # noqa: E402
from scene import Scene  # noqa: E402
from sources import Models, Pictures  # noqa: E402


def set_up(scene, seed: int):
    scene.render.engine = "CYCLES"
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.resolution_x = scene.render.resolution_y = ASKED.size
    scene.render.resolution_percentage = 100
    scene.render.use_persistent_data = True
    cycles = scene.cycles
    # The same seed with the thing and without: away from its effects they differ only where paths do.
    cycles.seed = seed
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.diffuse_bounces = cycles.glossy_bounces = 3
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_indirect, cycles.blur_glossy = 3.0, 0.5


def shoot(scene, path: Path, samples: int, bounces: int, alpha_only: bool):
    form = scene.render.image_settings
    form.file_format = "PNG" if alpha_only else "OPEN_EXR_MULTILAYER"
    form.color_mode = "RGBA" if alpha_only else "RGB"
    form.color_depth = "8" if alpha_only else "16"
    scene.view_layers[0].cycles.denoising_store_passes = not alpha_only
    scene.cycles.samples, scene.cycles.max_bounces = samples, bounces
    scene.render.film_transparent = alpha_only
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


def covered(path: Path) -> float:
    """The share of the picture that the alpha of a PNG covers."""
    image = bpy.data.images.load(str(path))
    rgba = np.empty(image.size[0] * image.size[1] * 4, np.float32)
    image.pixels.foreach_get(rgba)
    bpy.data.images.remove(image)
    return float(rgba[3::4].mean())


def mask(made, path: Path) -> str:
    """The alpha of the thing, others before it regarded; the camera goes nearer or farther until it has a good size. Says why it has none."""
    others = [o for o in made.blender.objects if o.type == "MESH" and o not in made.target]
    for other in others:
        other.is_holdout = True
    for _ in range(3):
        shoot(made.blender, path, 12, 0, True)
        share = covered(path)
        fault = uneven(share)
        if not fault or share < 0.002:
            break
        made.go((share / 0.12) ** 0.5)
    for other in others:
        other.is_holdout = False
    return fault


def main():
    models = Models(ASKED.furniture, ASKED.models, bool(ASKED.held_out))
    pictures = Pictures(ASKED.pool, bool(ASKED.held_out))
    world = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights/world"
    skies = sorted(str(f) for f in world.glob("*.exr"))
    for number in map(int, ASKED.numbers.split(",")):
        made = Scene(random.Random(ASKED.seed * 1_000_003 + number), models, pictures, skies)
        scene = made.blender
        set_up(scene, number)
        made.about["unused"] = mask(made, ASKED.out / f"{number}_M.png")
        if not made.about["unused"]:
            shoot(scene, ASKED.out / f"{number}_C.exr", ASKED.samples, 4, False)
            for part in made.target:
                part.hide_render = True
            shoot(scene, ASKED.out / f"{number}_B.exr", ASKED.samples, 4, False)
        (ASKED.out / f"{number}.json").write_text(json.dumps(made.about))


main()
