"""Small pictures written by OpenEXR and OpenImageIO, which tests/oracle.rs reads.

    pip install OpenEXR==3.5.3 OpenImageIO==3.2.2.0 numpy
    python make_fixtures.py ../fixtures

Pixels follow formulas that are exact in half floats and that the test repeats:
    R = x / 8, G = y / 4, B = ((x * 5 + y * 3) mod 16) / 16, A = ((x + y) mod 3) / 2, from the data window's corner.
"""

import pathlib
import sys
from fractions import Fraction

import numpy as np
import OpenEXR
import OpenImageIO as oiio

WIDTH, HEIGHT = 24, 20


def planes(width=WIDTH, height=HEIGHT):
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return {"R": x / 8, "G": y / 4, "B": ((x * 5 + y * 3) % 16) / 16, "A": ((x + y) % 3) / 2}


def smooth(width=WIDTH, height=HEIGHT):
    """For lossy compressions: red only, a gentle slope."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return {name: 0.25 + x / 64 + y / 128 for name in "RGBA"}


def header(compression=OpenEXR.ZIP_COMPRESSION, kind=OpenEXR.scanlineimage, **more):
    return {"compression": compression, "type": kind, **more}


def half(channels, prefix=""):
    return {prefix + name: values.astype(np.float16) for name, values in channels.items()}


def save(path, head, channels):
    OpenEXR.File(head, channels).write(str(path))


def exr_fixtures(out):
    lossless = {
        "none": OpenEXR.NO_COMPRESSION,
        "rle": OpenEXR.RLE_COMPRESSION,
        "zips": OpenEXR.ZIPS_COMPRESSION,
        "zip": OpenEXR.ZIP_COMPRESSION,
        "piz": OpenEXR.PIZ_COMPRESSION,
        "pxr24": OpenEXR.PXR24_COMPRESSION,
    }
    lossy = {
        "b44": OpenEXR.B44_COMPRESSION,
        "b44a": OpenEXR.B44A_COMPRESSION,
        "dwaa": OpenEXR.DWAA_COMPRESSION,
        "dwab": OpenEXR.DWAB_COMPRESSION,
    }
    for name, compression in lossless.items():
        save(out / f"{name}.exr", header(compression), half(planes()))
    for name, compression in lossy.items():
        save(out / f"{name}.exr", header(compression), half(smooth()))
    save(out / "htj2k.exr", header(OpenEXR.HTJ2K32_COMPRESSION), half(planes()))

    window = lambda x0, y0, x1, y1: (np.array([x0, y0], np.int32), np.array([x1, y1], np.int32))
    save(
        out / "windows.exr",
        header(
            dataWindow=window(-7, 3, -7 + WIDTH - 1, 3 + HEIGHT - 1),
            displayWindow=window(0, 0, 15, 9),
            pixelAspectRatio=2.0,
            owner="Ada",
            comments="a comment",
            framesPerSecond=Fraction(24000, 1001),
            timeCode=OpenEXR.TimeCode(1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
            chromaticities=(0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767),
        ),
        half(planes()),
    )
    save(
        out / "layers.exr",
        header(OpenEXR.PIZ_COMPRESSION),
        {
            **half(planes()),
            "mug.red": planes()["B"].astype(np.float16),
            "mug.Alpha": planes()["A"].astype(np.float16),
            "Z": (planes()["R"] * 1000 + 0.1).astype(np.float32),
            "id.X": (planes()["G"] * 4).astype(np.uint32) + np.uint32(4053562365 - 19),
        },
    )
    save(out / "grey.exr", header(), {"Y": planes()["R"].astype(np.float32)})
    parts = [
        OpenEXR.Part({**header(), "name": "rgba"}, half(planes())),
        OpenEXR.Part(
            {**header(), "name": "mug", "dataWindow": window(4, 5, 11, 8), "displayWindow": window(0, 0, 23, 19)},
            half(planes(8, 4), "mug."),
        ),
        OpenEXR.Part({**header(OpenEXR.PIZ_COMPRESSION), "name": "shadow"}, half(planes())),
    ]
    OpenEXR.File(parts).write(str(out / "multipart.exr"))

    # What the Python module cannot write, OpenImageIO can.
    pixels = np.stack([planes()[c] for c in "RGBA"], axis=-1)
    tiles(out / "tiles.exr", pixels, levels=1)
    tiles(out / "mipmap.exr", pixels, levels=3)
    deep(out / "deep.exr")
    several_blocks(out)


def tiles(path, pixels, levels):
    spec = oiio.ImageSpec(WIDTH, HEIGHT, 4, oiio.HALF)
    spec.tile_width = spec.tile_height = 16
    spec["compression"] = "zip"
    if levels > 1:
        buffer = oiio.ImageBuf(pixels.copy())
        assert oiio.ImageBufAlgo.make_texture(oiio.MakeTxTexture, buffer, str(path), spec), oiio.geterror()
        return
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(pixels), output.geterror()
    output.close()


def several_blocks(out):
    """Every compression with several blocks, in rows and in tiles. Of the lossy ones also what OpenEXR makes of them."""
    width, height = 70, 100
    rgba = lambda channels: np.stack([channels[c] for c in "RGBA"], axis=-1)
    exact = rgba(planes(width, height))
    rows_and_tiles = [("rows", None), ("tiles", (32, 16))]
    for compression in ["rle", "piz", "pxr24", "zip"]:
        for kind, tile in rows_and_tiles:
            blocks(out / f"{kind}_{compression}.exr", exact, compression, tile)
    for compression, rows, kinds in [
        ("b44", 60, rows_and_tiles),
        ("dwaa", 100, rows_and_tiles),
        ("dwab", 270, rows_and_tiles[:1]),
    ]:
        for kind, tile in kinds:
            path = out / f"{kind}_{compression}.exr"
            blocks(path, rgba(smooth(width, rows)), compression, tile)
            decoded = oiio.ImageBuf(str(path)).get_pixels(oiio.HALF)
            blocks(out / f"{kind}_{compression}_decoded.exr", decoded, "zip", None)
    blocks(out / "rows_down.exr", exact, "piz", None, lineOrder="decreasingY")
    # A part whose smaller levels have places in its table, before parts whose tables are not found unless those are
    # counted. The module writes the largest level alone, which is all that is read here.
    levels = OpenEXR.TileDescription()
    levels.xSize = levels.ySize = 32
    levels.mode = OpenEXR.LevelMode.RIPMAP_LEVELS
    tiled = {**header(OpenEXR.PIZ_COMPRESSION, OpenEXR.tiledimage), "tiles": levels}
    parts = [
        OpenEXR.Part({**tiled, "name": "tiled"}, half(planes(width, height))),
        OpenEXR.Part({**header(), "name": "rows"}, half(planes(width, height), "rows.")),
        OpenEXR.Part({**header(OpenEXR.RLE_COMPRESSION), "name": "runs"}, half(planes(width, height), "runs.")),
    ]
    OpenEXR.File(parts).write(str(out / "tiled_parts.exr"))


def blocks(path, pixels, compression, tile, **attributes):
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 4, oiio.HALF)
    spec["compression"] = compression
    if tile:
        spec.tile_width, spec.tile_height = tile
    for name, value in attributes.items():
        spec["openexr:" + name] = value
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(pixels), output.geterror()
    output.close()


def deep(path):
    spec = oiio.ImageSpec(8, 4, 2, oiio.HALF)
    spec.channelnames = ("A", "Z")
    spec.channelformats = (oiio.HALF, oiio.FLOAT)
    spec.deep = True
    spec["compression"] = "zips"
    samples = oiio.DeepData()
    samples.init(32, 2, (oiio.HALF, oiio.FLOAT), ("A", "Z"))
    for pixel in range(32):
        samples.set_samples(pixel, pixel % 3)
        for sample in range(pixel % 3):
            samples.set_deep_value(pixel, 0, sample, 0.5)
            samples.set_deep_value(pixel, 1, sample, 1.0 + sample)
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    assert output.write_deep_image(samples), output.geterror()
    output.close()


def plain(path, names, kind, scale, **attributes):
    """A picture of whole numbers: channel c is (x + y + c) mod 8 of `scale` / 8."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([((x + y + c) % 8) * scale / 8 for c in range(len(names))], axis=-1)
    spec = oiio.ImageSpec(WIDTH, HEIGHT, len(names), kind)
    spec.channelnames = tuple(names)
    spec.alpha_channel = names.index("A") if "A" in names else -1
    spec["oiio:UnassociatedAlpha"] = 1
    for name, value in attributes.items():
        spec[name] = value
    output = oiio.ImageOutput.create(str(path))
    assert output.open(str(path), spec), output.geterror()
    types = {"uint8": np.uint8, "uint16": np.uint16, "float": np.float32, "half": np.float16}
    assert output.write_image(pixels.astype(types[str(oiio.TypeDesc(kind))])), output.geterror()
    output.close()


def other_fixtures(out):
    plain(out / "rgba8.png", "RGBA", oiio.UINT8, 248)
    plain(out / "rgb16.png", "RGB", oiio.UINT16, 65528)
    plain(out / "grey8.png", "Y", oiio.UINT8, 248)
    plain(out / "float.tif", "RGB", oiio.FLOAT, 4.0, compression="zip")
    plain(out / "rgb16.tif", "RGB", oiio.UINT16, 65528, compression="lzw")
    plain(out / "rgba.webp", "RGBA", oiio.UINT8, 248, compression="lossless:100")
    plain(out / "rgb.jpg", "RGB", oiio.UINT8, 248)
    plain(out / "turned.jpg", "RGB", oiio.UINT8, 248, Orientation=6)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    exr_fixtures(folder)
    other_fixtures(folder)
    print(sum(path.stat().st_size for path in folder.iterdir()), "bytes")
