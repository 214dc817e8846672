"""Reads layered EXR files with OpenEXR and OpenImageIO, and lays their layers back together.

    pip install OpenEXR OpenImageIO numpy
    python tests/oracles/layers.py STACK.exr [--plate PLATE.exr] [--order background,ball]

Both libraries must find the same layers under the same names, `R G B A` first. Over of the layers, in half-float
steps of the file rounded once at the end, must be the flattened picture, and the plate where one is given. Prints one line a
file and ends with 1 where anything differs.
"""

import argparse
import sys

import numpy as np
import OpenEXR
import OpenImageIO as oiio


def by_openexr(path):
    """Channel -> (x0, y0, array), display window, and layer names in the order of the parts."""
    channels, order = {}, []
    with OpenEXR.File(path, separate_channels=True) as file:
        (dx0, dy0), (dx1, dy1) = file.parts[0].header["displayWindow"]
        for part in file.parts:
            (x0, y0), _ = part.header["dataWindow"]
            for name, channel in part.channels.items():
                channels[name] = (int(x0), int(y0), channel.pixels)
                layer = name.rpartition(".")[0]
                if layer not in order:
                    order.append(layer)
    return channels, (int(dx0), int(dy0), int(dx1) + 1, int(dy1) + 1), order


def by_oiio(path):
    """The same through OpenImageIO."""
    channels, order = {}, []
    file = oiio.ImageInput.open(path)
    if file is None:
        raise SystemExit(f"{path}: {oiio.geterror()}")
    part = 0
    while file.seek_subimage(part, 0):
        spec = file.spec()
        pixels = file.read_image(part, 0, 0, spec.nchannels, "half")
        for index, name in enumerate(spec.channelnames):
            channels[name] = (spec.x, spec.y, pixels[..., index])
            layer = name.rpartition(".")[0]
            if layer not in order:
                order.append(layer)
        part += 1
    file.close()
    return channels, order


def layer(channels, name, window):
    """A layer's RGBA in a window, 0 where it has no pixels; a missing alpha is 1."""
    x0, y0, x1, y1 = window
    out = np.zeros((y1 - y0, x1 - x0, 4), np.float32)
    out[..., 3] = 1
    for index, suffixes in enumerate((("R", "red"), ("G", "green"), ("B", "blue"), ("A", "alpha"))):
        names = [f"{name}.{suffix}" if name else suffix for suffix in suffixes]
        found = next((channels[n] for n in names if n in channels), None)
        if found is None:
            continue
        cx, cy, pixels = found
        out[..., index] = 0
        ax0, ay0 = max(x0, cx), max(y0, cy)
        ax1, ay1 = min(x1, cx + pixels.shape[1]), min(y1, cy + pixels.shape[0])
        if ax0 < ax1 and ay0 < ay1:
            part = pixels[ay0 - cy:ay1 - cy, ax0 - cx:ax1 - cx]
            out[ay0 - y0:ay1 - y0, ax0 - x0:ax1 - x0, index] = part.astype(np.float32)
    return out


def over(layers):
    result = layers[0]
    for above in layers[1:]:
        result = above + result * (np.float32(1) - above[..., 3:4])
    return result.astype(np.float16)


def difference(a, b):
    """The largest difference; two values that are no numbers are equal."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    both = ~np.isfinite(a) & ~np.isfinite(b)
    return float(np.max(np.where(both, 0, np.abs(a - b)), initial=0))


def check(path, plate, order):
    channels, window, found = by_openexr(path)
    other, found_oiio = by_oiio(path)
    problems = []
    if set(channels) != set(other):
        problems.append(f"channels {sorted(channels)} and {sorted(other)}")
    for name in set(channels) & set(other):
        if difference(layer({"R": channels[name]}, "", window), layer({"R": other[name]}, "", window)) != 0:
            problems.append(f"{name} is read differently")
    if not {"R", "G", "B", "A"} <= set(channels):
        problems.append("there is no flattened picture")
    names = order or [name for name in found if name]
    missing = [name for name in names if f"{name}.R" not in channels and f"{name}.red" not in channels]
    if missing or not names:
        problems.append(f"no layers {missing}" if missing else "no layers")
        return problems, found
    laid = over([layer(channels, name, window) for name in names])
    flat = difference(laid, layer(channels, "", window))
    if flat != 0:
        problems.append(f"over of {names} is {flat} away from the flattened picture")
    if plate:
        truth, plate_window, _ = by_openexr(plate)
        if plate_window != window:
            problems.append(f"the plate's window is {plate_window}, the file's {window}")
        else:
            away = difference(laid, layer(truth, "", window).astype(np.float16))
            if away != 0:
                problems.append(f"over of {names} is {away} away from the plate")
    return problems, found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stacks", nargs="+")
    parser.add_argument("--plate", help="the plate; #### stands for the frame at the end of the stack's name")
    parser.add_argument("--order", type=lambda text: text.split(","), help="bottom to top; the file's order by default")
    arguments = parser.parse_args()
    failed = False
    for path in arguments.stacks:
        frame = path.rsplit(".", 2)[-2] if path.count(".") >= 2 else ""
        plate = arguments.plate.replace("####", frame) if arguments.plate else None
        problems, found = check(path, plate, arguments.order)
        failed |= bool(problems)
        print(f"{path}: {found}: {'; '.join(problems) or 'max difference 0'}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
