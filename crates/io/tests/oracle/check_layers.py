"""Reads layered EXR files with OpenEXR and OpenImageIO and lays the layers back together.

    python check_layers.py FILE.exr ...

For each file: the layers by name, and the largest difference between the flattened picture (`R G B A`) and the over of
the layers, bottom to top, after rounding to half. It must be 0. Lossy compressions are only read.
"""

import sys

import numpy as np
import OpenEXR
import OpenImageIO as oiio

SUFFIXES = [("R", "red"), ("G", "green"), ("B", "blue"), ("A", "alpha")]


def channels(path):
    """Every channel over the display window and all data windows, by name, and the window."""
    found = {}
    with OpenEXR.File(path, separate_channels=True) as file:
        boxes = [part.header["dataWindow"] for part in file.parts]
        x0, y0 = (min(int(low[i]) for low, _ in boxes) for i in (0, 1))
        x1, y1 = (max(int(high[i]) for _, high in boxes) + 1 for i in (0, 1))
        for part, (low, high) in zip(file.parts, boxes):
            for name, channel in part.channels.items():
                whole = np.zeros((y1 - y0, x1 - x0), np.float32)
                whole[low[1] - y0 : high[1] - y0 + 1, low[0] - x0 : high[0] - x0 + 1] = channel.pixels
                assert name not in found, f"{path}: {name} is there twice"
                found[name] = whole
    return found


def layer(found, prefix):
    return np.stack([next(found[prefix + s] for s in suffix if prefix + s in found) for suffix in SUFFIXES])


def names(found):
    order = []
    for name in found:
        prefix = name.rpartition(".")[0]
        if prefix and prefix not in order:
            order.append(prefix)
    # Channels of one part are sorted; the background is the bottom.
    return sorted(order, key=lambda name: name != "background")


def oiio_channels(path):
    seen, part = [], 0
    image = oiio.ImageInput.open(path)
    while image.seek_subimage(part, 0):
        seen += list(image.spec().channelnames)
        part += 1
    return seen


def check(path):
    found = channels(path)
    others = oiio_channels(path)
    assert sorted(others) == sorted(found), f"{path}: OpenImageIO sees {others}"
    order = names(found)
    over = np.zeros_like(layer(found, order[0] + "."))
    for name in order:
        above = layer(found, name + ".")
        over = above + over * (np.float32(1) - above[3])
    flat = layer(found, "")
    difference = np.abs(over.astype(np.float16).astype(np.float32) - flat).max()
    print(f"{path}: {', '.join(order)}; max difference {difference}")
    return difference


if __name__ == "__main__":
    lossy = ("B44", "DWA")
    worst = max((check(path) for path in sys.argv[1:] if not any(l in path for l in lossy)), default=0)
    for path in sys.argv[1:]:
        if any(l in path for l in lossy):
            channels(path)
    sys.exit(int(worst != 0))
