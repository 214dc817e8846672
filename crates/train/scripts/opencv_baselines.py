"""Fills the masked region of held-out cases with OpenCV's inpainting, as columns for the evaluation.

    python3 crates/train/scripts/opencv_baselines.py local/eval20 local/eval20-opencv [METHOD ...]
    peel eval local/eval20 --files telea=local/eval20-opencv/telea ...

Writes OUT/METHOD/ID.png for: telea and ns with the mask as given; telea+4, ns+4, telea+9 and ns+9 with the mask dilated by 4 or 9 pixels
of a picture of 128; telea-oracle with the true region of object, shadow and reflection (ID_L's alpha above .05), which no user has. It
makes its own environment under local/.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / "local" / "venv-opencv"
PACKAGES = ["opencv-python-headless", "numpy"]
RADIUS = 5
METHODS = ["telea", "ns", "telea+4", "ns+4", "telea+9", "ns+9", "telea-oracle"]


def in_environment():
    """Starts again inside the environment, which is made first if need be."""
    if Path(sys.prefix) == VENV:
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def dilate(mask, radius):
    import cv2

    side = 2 * int(round(radius)) + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def main():
    in_environment()
    import cv2
    import numpy as np

    cv2.setNumThreads(1)
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("cases", type=Path)
    arguments.add_argument("out", type=Path)
    # argparse would hold an empty list against `choices`.
    arguments.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join(METHODS)}; all by default")
    options = arguments.parse_args()
    methods = options.methods or METHODS
    if unknown := sorted(set(methods) - set(METHODS)):
        arguments.error(f"unknown: {', '.join(unknown)}; there are {', '.join(METHODS)}")
    for method in methods:
        (options.out / method).mkdir(parents=True, exist_ok=True)
    for plate_path in sorted(options.cases.glob("*_C.*")):
        name, ending = plate_path.name.split("_C.")
        plate = cv2.imread(str(plate_path), cv2.IMREAD_COLOR)
        mask = cv2.imread(str(options.cases / f"{name}_M.{ending}"), cv2.IMREAD_GRAYSCALE)
        mask = ((mask > 127) * 255).astype(np.uint8)
        for method in methods:
            kind, _, reach = method.partition("+")
            hole = dilate(mask, int(reach) * plate.shape[1] / 128) if reach else mask
            if method == "telea-oracle":
                layer = cv2.imread(str(options.cases / f"{name}_L.{ending}"), cv2.IMREAD_UNCHANGED)
                if layer is None:
                    continue
                hole = np.maximum(mask, ((layer[..., 3] > 0.05 * 255) * 255).astype(np.uint8))
            flag = cv2.INPAINT_NS if kind == "ns" else cv2.INPAINT_TELEA
            cv2.imwrite(str(options.out / method / f"{name}.png"), cv2.inpaint(plate, hole, RADIUS, flag))


if __name__ == "__main__":
    main()
