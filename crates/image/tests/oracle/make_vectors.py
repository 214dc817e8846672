"""Numbers that OpenColorIO and OpenImageIO compute, which tests/oracle.rs repeats.

    pip install opencolorio==2.6.0 OpenImageIO==3.2.2.0 numpy
    python make_vectors.py ../vectors

Text files, one case a line, numbers separated by spaces.
"""

import pathlib
import sys

import numpy as np
import OpenImageIO as oiio
import PyOpenColorIO as ocio

SPACES = {
    "LinearRec709": "Linear Rec.709 (sRGB)",
    "Srgb": "sRGB - Texture",
    "AcesCg": "ACEScg",
    "AcesCct": "ACEScct",
    "Aces2065_1": "ACES2065-1",
}
COLOURS = [
    (0.18, 0.18, 0.18),
    (1.0, 0.5, 0.1),
    (0.0, 0.0, 0.0),
    (0.001, 0.002, 0.0005),
    (-0.05, 0.02, 0.3),
    (0.5, -0.01, -0.2),
    (4.0, 0.25, 16.0),
    (0.9, 0.95, 1.0),
    (0.0031, 0.0392, 0.041),
]


def line(*values):
    return " ".join(v if isinstance(v, str) else f"{v:.9g}" for v in values)


def colour():
    """source target r g b R G B"""
    config = ocio.Config.CreateFromFile("ocio://cg-config-latest")
    for source, source_name in SPACES.items():
        for target, target_name in SPACES.items():
            if source == target:
                continue
            # The default optimisations replace powers by fast approximations.
            processor = config.getProcessor(source_name, target_name).getOptimizedCPUProcessor(
                ocio.OPTIMIZATION_NONE
            )
            for rgb in COLOURS:
                yield line(source, target, *rgb, *processor.applyRGB(list(rgb)))


def cdl():
    """clamp slope3 offset3 power3 saturation r g b R G B"""
    config = ocio.Config.CreateRaw()
    grades = [
        ((1.35, 1.1, 0.71), (0.05, -0.23, 0.11), (0.93, 0.81, 1.27), 1.239),
        ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 0.0),
        ((0.8, 1.2, 1.0), (0.1, 0.0, -0.1), (1.0, 2.0, 0.5), 0.5),
    ]
    for slope, offset, power, saturation in grades:
        for style, clamp in ((ocio.CDL_ASC, 1), (ocio.CDL_NO_CLAMP, 0)):
            transform = ocio.CDLTransform()
            transform.setSlope(slope)
            transform.setOffset(offset)
            transform.setPower(power)
            transform.setSat(saturation)
            transform.setStyle(style)
            processor = config.getProcessor(transform).getOptimizedCPUProcessor(ocio.OPTIMIZATION_NONE)
            for rgb in COLOURS:
                yield line(clamp, *slope, *offset, *power, saturation, *rgb, *processor.applyRGB(list(rgb)))


def source():
    y, x = np.mgrid[0:10, 0:12].astype(np.float32)
    return ((x * 7 + y * 13) % 17) / 16


def warp():
    """filter xx xy x0 yx yy y0 (source to result), then 20 x 18 values from (-4, -4)"""
    turn = np.radians(30.0)
    matrices = [
        (1, 0, 0.25, 0, 1, -0.5),
        (1.7, 0, -2.3, 0, 0.9, 1.1),
        (0.5, 0, 3.0, 0, 0.25, 2.0),
        (np.cos(turn), -np.sin(turn), 3.0, np.sin(turn), np.cos(turn), -2.0),
        (1.2, 0.4, -1.0, -0.1, 1.5, 0.5),
    ]
    filters = {"Bilinear": "triangle", "Cubic": "catmull-rom", "Mitchell": "mitchell", "Lanczos3": "lanczos3"}
    buffer = oiio.ImageBuf(np.ascontiguousarray(source()[..., None]))
    roi = oiio.ROI(-4, 16, -4, 14)
    for xx, xy, x0, yx, yy, y0 in matrices:
        for name, other in filters.items():
            # OpenImageIO multiplies row vectors.
            matrix = (xx, yx, 0, xy, yy, 0, x0, y0, 1)
            result = oiio.ImageBufAlgo.warp(buffer, matrix, other, 0.0, False, "black", roi=roi)
            assert not result.has_error, result.geterror()
            yield line(name, xx, xy, x0, yx, yy, y0, *result.get_pixels(oiio.FLOAT, roi).ravel().tolist())


def compare():
    """fail max mean rms failing, of the source against itself plus a bump"""
    a = np.repeat(source()[..., None], 4, axis=-1)
    b = a.copy()
    b[3, 5, 1] += 0.5
    b[7, 2, 2] -= 0.01
    b[9, 11, 0] += 0.001
    for fail in (0.0, 0.005, 0.1, 1.0):
        found = oiio.ImageBufAlgo.compare(oiio.ImageBuf(a), oiio.ImageBuf(b), fail, fail)
        yield line(fail, found.maxerror, found.meanerror, found.rms_error, found.nfail)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for function in (colour, cdl, warp, compare):
        lines = [f"# {function.__doc__}", *function()]
        (folder / f"{function.__name__}.txt").write_text("\n".join(lines) + "\n")
        print(function.__name__, len(lines) - 1)
