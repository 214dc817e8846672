"""Fills the masked region of held-out cases with OpenCV's inpainting, as columns for the evaluation.

    pip install opencv-python-headless numpy
    python crates/train/scripts/opencv_baselines.py local/eval20 local/eval20-opencv
    cargo run --release -p peel-train --example eval -- local/eval20 --files telea=local/eval20-opencv/telea ...

Writes OUT/METHOD/ID.png for: telea and ns with the mask as given; telea+9 and ns+9 with the mask dilated by 9 pixels of a picture
of 128; telea-oracle with the true region of object, shadow and reflection (ID_L's alpha above .05), which no user has.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

RADIUS = 5


def dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    side = 2 * int(round(radius)) + 1
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("cases", type=Path)
    arguments.add_argument("out", type=Path)
    options = arguments.parse_args()
    for plate_path in sorted(options.cases.glob("*_C.*")):
        name, ending = plate_path.name.split("_C.")
        plate = cv2.imread(str(plate_path), cv2.IMREAD_COLOR)
        mask = cv2.imread(str(options.cases / f"{name}_M.{ending}"), cv2.IMREAD_GRAYSCALE)
        mask = ((mask > 127) * 255).astype(np.uint8)
        wide = dilate(mask, 9 * plate.shape[1] / 128)
        holes = {"telea": (mask, cv2.INPAINT_TELEA), "ns": (mask, cv2.INPAINT_NS)}
        holes |= {"telea+9": (wide, cv2.INPAINT_TELEA), "ns+9": (wide, cv2.INPAINT_NS)}
        layer_path = options.cases / f"{name}_L.{ending}"
        if layer_path.exists():
            layer = cv2.imread(str(layer_path), cv2.IMREAD_UNCHANGED)
            effect = ((layer[..., 3] > 0.05 * 255) * 255).astype(np.uint8)
            holes["telea-oracle"] = (np.maximum(mask, effect), cv2.INPAINT_TELEA)
        for method, (hole, flag) in holes.items():
            folder = options.out / method
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{name}.png"), cv2.inpaint(plate, hole, RADIUS, flag))


if __name__ == "__main__":
    main()
