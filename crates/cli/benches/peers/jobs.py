"""The jobs of the comparison, in each program's own words."""

import math

WIDTH, HEIGHT = 3840, 2160

GRAPH = 'Graph(format: 1, frames: "1", nodes: {{\n{nodes}\n"out": Write(input: "job", path: "{out}"{how}),\n}})\n'
# What libvips can write: every float as it is.
RAW = ", compression: None, pixels: Float"


def read(name):
    return f'"{name}": Read(path: "{{folder}}/{name}.exr"),'


MOVED = 'Transform(input: "ball", rotate: 5, scale: (1.1, 1.1), translate: (120.5, 40.25))'

PEEL = {
    "copy": [read("plate"), '"job": AlphaOver(layers: ["plate"]),'],
    "over": [read("plate"), read("ball"), '"job": AlphaOver(layers: ["plate", "ball"]),'],
    "layers": [
        read("plate"),
        read("ball"),
        read("haze"),
        '"job": AlphaOver(layers: ["plate", "ball", "haze"]),',
    ],
    "rotate": [read("plate"), '"job": Transform(input: "plate", rotate: 10),'],
    "multiply": [read("plate"), '"job": Recolor(input: "plate", grade: (gain: (1.1, 1, 0.9))),'],
    "warp": [
        read("plate"),
        read("ball"),
        read("haze"),
        f'"moved": {MOVED},',
        '"job": AlphaOver(layers: ["plate", "moved", "haze"]),',
    ],
}


def graph(job, folder, out, how=""):
    nodes = "\n".join(PEEL[job]).replace("{folder}", str(folder))
    return GRAPH.format(nodes=nodes, out=out, how=how)


def warp_matrix(degrees, scale, move):
    """oiiotool's matrix: row vectors, pixel corners, about the middle of the frame."""
    cos, sin = math.cos(math.radians(degrees)) * scale, math.sin(math.radians(degrees)) * scale
    cx, cy = WIDTH / 2, HEIGHT / 2
    tx = cx + move[0] - (cos * cx - sin * cy)
    ty = cy + move[1] - (sin * cx + cos * cy)
    return f"{cos},{sin},0,{-sin},{cos},0,{tx},{ty},1"


def oiiotool(job, folder, out):
    """Arguments for oiiotool, whose rotation also turns clockwise."""
    plate, ball, haze = (str(folder / f"{name}.exr") for name in ("plate", "ball", "haze"))
    matrix = warp_matrix(5, 1.1, (120.5, 40.25))
    work = {
        "copy": [plate],
        "over": [ball, plate, "--over"],
        "layers": [haze, ball, plate, "--over", "--over"],
        "rotate": [plate, "--rotate:filter=catmull-rom", "10"],
        "multiply": [plate, "--mulc", "1.1,1,0.9,1"],
        "warp": [haze, ball, "--warp:filter=catmull-rom", matrix, plate, "--over", "--over"],
    }[job]
    return [*work, "-d", "half", "--compression", "zip", "-o", str(out)]


def vips(job, folder, out):
    """libvips reads EXR but writes none: its own format, raw floats. Peel is compared writing the same."""
    plate, ball = str(folder / "plate.exr"), str(folder / "ball.exr")
    return {
        "over": ["composite2", ball, plate, str(out), "over", "--premultiplied"],
        "rotate": ["similarity", plate, str(out), "--angle", "10", "--interpolate", "bicubic"],
        "multiply": ["linear", plate, str(out), "1.1 1 0.9 1", "0 0 0 0"],
    }.get(job)


TITLES = {
    "copy": "read and write",
    "over": "A over B",
    "layers": "three layers",
    "rotate": "cubic rotation by 10 degrees",
    "multiply": "multiply",
    "warp": "cubic warp, three layers",
}
