"""Builds the pictures of the comparison: 3840x2160, half RGBA, ZIP, written by OpenImageIO.

How fast deflate is depends on what it is given, so the pictures are what a compositor has: a photograph in scene-linear
light with grain that grows with the light (what compresses badly), soft mattes, premultiplied layers that are empty in
places (what compresses well).

    plate.exr   opaque photograph
    ball.exr    a cut-out: 4 tenths of the frame, soft edge, nothing around it
    haze.exr    a veil over the whole frame, 0 to 60 % opaque
"""

import pathlib
import sys

import numpy as np
import OpenImageIO as oiio

WIDTH, HEIGHT = 3840, 2160
ROOT = pathlib.Path(__file__).resolve().parents[4]


def photograph(flip):
    """The repository's photograph in linear light, enlarged to the frame."""
    source = oiio.ImageBuf(str(ROOT / "graphs/plates/coffee.jpg"))
    linear = oiio.ImageBufAlgo.colorconvert(source, "sRGB", "lin_srgb")
    if flip:
        linear = oiio.ImageBufAlgo.flop(linear)
    roi = oiio.ROI(0, WIDTH, 0, HEIGHT, 0, 1, 0, 3)
    return oiio.ImageBufAlgo.resize(linear, roi=roi).get_pixels(oiio.FLOAT).clip(0)


def grainy(light, random, amount):
    """Shot noise on top of read noise, like a sensor's."""
    sigma = amount * np.sqrt(light + 0.002)
    return light + sigma * random.standard_normal(light.shape, dtype=np.float32)


def clouds(random, octaves=5):
    """Smooth noise between 0 and 1."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in range(octaves):
        cells = 4 * 2**octave
        grid = random.random((cells, cells, 1), dtype=np.float32)
        roi = oiio.ROI(0, WIDTH, 0, HEIGHT, 0, 1, 0, 1)
        smooth = oiio.ImageBufAlgo.resize(oiio.ImageBuf(grid), "cubic", roi=roi).get_pixels(oiio.FLOAT)
        total += smooth.reshape(HEIGHT, WIDTH) * 0.5 ** (octave + 1)
    return total.clip(0, 1)


def save(folder, name, rgb, alpha):
    pixels = np.concatenate([rgb * alpha[..., None], alpha[..., None]], axis=2).astype(np.float16)
    spec = oiio.ImageSpec(WIDTH, HEIGHT, 4, "half")
    spec.channelnames = ("R", "G", "B", "A")
    spec.attribute("compression", "zip")
    out = oiio.ImageOutput.create(str(folder / name))
    if not out or not out.open(str(folder / name), spec) or not out.write_image(pixels) or not out.close():
        sys.exit(f"{folder / name}: {oiio.geterror()}")


def build(folder):
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(2411)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    save(folder, "plate.exr", grainy(photograph(False), random, 0.02), np.ones((HEIGHT, WIDTH), np.float32))
    far = np.hypot((x - 2200) / 1250, (y - 1100) / 880)
    ball = ((1.0 - far) * 40).clip(0, 1)
    save(folder, "ball.exr", grainy(photograph(True) * 1.5, random, 0.015), ball)
    veil = grainy(np.full((HEIGHT, WIDTH, 3), (0.5, 0.55, 0.6), np.float32), random, 0.01)
    save(folder, "haze.exr", veil, 0.6 * clouds(random))


if __name__ == "__main__":
    build(pathlib.Path(sys.argv[1]))
