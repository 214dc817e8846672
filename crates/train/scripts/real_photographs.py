"""Twelve real photographs with hand-drawn masks, none of them trained on, for looking at.

    python3 crates/train/scripts/real_photographs.py                  # writes local/photographs/ID_C.png and ID_M.png
    peel eval local/photographs --layout photographs --model layerdecomp-s --methods peel \\
        --sheet weights/layerdecomp-s/photographs.jpg --sheet-size 160

The pictures are those of Debian's opencv-doc (samples of OpenCV, Apache-2.0 and BSD-3-Clause as the package states), which is held out of
training as a whole. The package is taken from local/sources, where fetch_sources.sh unpacks it, or fetched with `apt-get download`.
Polygons were drawn by eye in the pixels of the whole picture. It makes its own environment under local/.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
VENV = ROOT / "local" / "venv-photographs"
SOURCES = ROOT / "local" / "sources"
EXAMPLES = Path("usr/share/doc/opencv-doc/examples")
OUT = ROOT / "local" / "photographs"
PACKAGES = ["opencv-python-headless", "numpy"]
# Masks are drawn at this many times the resolution and averaged down.
FINER = 4
# Pixels that they are grown by: a polygon drawn by eye cuts off a pixel here and there.
GROW = 2


def ellipse(x, y, across, down):
    """An upright ellipse by its centre and half axes, as a polygon."""
    from math import cos, pi, sin

    return [(x + across * cos(2 * pi * i / 48), y + down * sin(2 * pi * i / 48)) for i in range(48)]


# ID: file (a video with the number of the frame), crop (left, top, right, bottom), polygons.
PHOTOGRAPHS = {
    # A pot lid from above: a soft shadow on plain wood.
    "01_lid": ("data/stuff.jpg", (300, 90, 540, 300), [ellipse(395.5, 185.5, 59, 60.5)]),
    # A lighter: hardly any shadow.
    "02_lighter": (
        "data/stuff.jpg",
        (220, 280, 460, 480),
        [[(317, 321), (327, 319), (332, 311), (353, 312), (357, 330), (357, 400), (356, 456), (347, 459), (318, 457), (314, 452), (316, 345)]],
    ),
    # A black lens cap with its shadow, cut by nothing.
    "03_cap": ("data/stuff.jpg", (150, 0, 340, 160), [ellipse(227.5, 56.5, 36, 39)]),
    # A pencil: long and thin.
    "04_pencil": (
        "data/stuff.jpg",
        (40, 70, 360, 280),
        [[(60, 95), (64, 92), (90, 104), (180, 155), (250, 195), (318, 234), (317, 239), (340, 252), (337, 255), (312, 246), (230, 202), (160, 162), (84, 112)]],
    ),
    # Somebody on a lawn, before a sheet of paper that stays: frame 660 of a surveillance camera.
    "05_stroller": (
        "data/vtest.avi#660",
        (220, 320, 420, 510),
        [
            [
                (296, 368), (300, 361), (307, 357), (316, 360), (320, 366), (320, 377), (328, 379), (332, 390), (338, 405), (343, 415),
                (345, 422), (342, 428), (344, 443), (338, 447), (345, 463), (352, 480), (357, 487), (351, 490), (346, 481), (339, 468),
                (330, 449), (315, 448), (313, 460), (314, 479), (300, 480), (300, 475), (305, 474), (303, 448), (301, 444), (300, 415),
                (296, 413), (299, 403), (298, 386), (303, 380),
            ]
        ],
    ),
    # A robin: thin legs on a blue pipe, a blurred garden.
    "06_robin": (
        "hfs/data/000.jpg",
        (20, 0, 360, 254),
        [
            [
                (91, 12), (100, 14), (112, 7), (130, 8), (148, 19), (158, 38), (170, 55), (185, 70), (200, 92), (218, 114), (230, 131),
                (250, 141), (285, 155), (310, 170), (311, 178), (290, 173), (262, 160), (240, 153), (250, 182), (240, 181), (222, 160),
                (210, 160), (203, 164), (212, 174), (196, 166), (185, 171), (172, 183), (159, 196), (158, 205), (140, 212), (128, 230),
                (122, 228), (134, 208), (124, 207), (140, 203), (152, 194), (170, 176), (155, 176), (130, 192), (112, 204), (105, 210),
                (88, 218), (76, 228), (74, 224), (82, 214), (76, 210), (88, 210), (104, 204), (125, 186), (146, 176), (118, 163),
                (95, 141), (78, 115), (73, 90), (76, 68), (90, 45), (97, 27),
            ]
        ],
    ),
    # A squirrel: fur against a bright blur.
    "07_squirrel": (
        "data/squirrel_cls.jpg",
        (100, 70, 440, 420),
        [
            [
                (198, 140), (205, 120), (222, 107), (245, 112), (257, 130), (250, 150), (240, 180), (236, 195), (262, 168), (264, 145),
                (275, 128), (288, 130), (295, 134), (304, 128), (310, 138), (330, 147), (345, 162), (357, 182), (353, 194), (340, 200),
                (337, 212), (322, 210), (312, 214), (318, 225), (335, 224), (352, 231), (345, 245), (325, 247), (300, 252), (282, 258),
                (283, 275), (272, 304), (275, 318), (262, 329), (245, 326), (235, 338), (222, 358), (205, 361), (185, 352), (160, 330),
                (142, 300), (131, 262), (137, 235), (150, 218), (170, 198), (185, 178), (196, 160),
            ]
        ],
    ),
    # A bare tree on a meadow: a rough mask around branches that nobody draws.
    "08_tree": (
        "hfs/data/002.jpg",
        (90, 10, 380, 254),
        [
            [
                (136, 128), (148, 105), (160, 80), (178, 62), (200, 40), (228, 33), (246, 36), (270, 40), (300, 46), (318, 62), (324, 80),
                (335, 100), (338, 130), (342, 158), (330, 170), (300, 168), (296, 195), (270, 197), (252, 190), (246, 198), (246, 212),
                (251, 220), (233, 221), (236, 205), (232, 192), (205, 194), (180, 199), (142, 197), (140, 165),
            ]
        ],
    ),
    # A rubber whale on cloth, before a lattice: a contact shadow among objects that stay.
    "09_whale": (
        "data/rubberwhale1.png",
        (150, 50, 400, 250),
        [
            [
                (218, 128), (222, 116), (232, 104), (250, 94), (270, 90), (285, 92), (297, 101), (305, 114), (308, 130), (304, 146),
                (295, 158), (305, 162), (315, 168), (318, 177), (313, 184), (300, 184), (292, 181), (265, 181), (245, 177), (232, 165),
                (222, 150),
            ]
        ],
    ),
    # A flower pot with the leaf that hangs over it, on patterned cloth.
    "10_pot": (
        "data/aloeL.jpg",
        (640, 720, 1180, 1110),
        [[(712, 868), (745, 840), (790, 812), (820, 806), (1065, 806), (1066, 840), (1040, 895), (1003, 1062), (960, 1080), (800, 1082), (758, 1066), (735, 980)]],
    ),
    # A man walking on tarmac, with a faint shadow to his right: frame 198.
    "11_walker": (
        "data/vtest.avi#198",
        (540, 230, 710, 400),
        [
            [
                (617, 272), (619, 265), (625, 261), (633, 264), (635, 278), (636, 292), (645, 303), (643, 312), (637, 311), (632, 298),
                (632, 325), (628, 340), (630, 362), (632, 366), (624, 366), (620, 362), (620, 343), (612, 347), (613, 352), (608, 352),
                (605, 340), (618, 332), (622, 325), (611, 325), (606, 315), (606, 300), (610, 282),
            ]
        ],
    ),
    # Two people on a lawn, taken off together: frame 528.
    "12_pair": (
        "data/vtest.avi#528",
        (290, 340, 520, 576),
        [
            [
                (393, 410), (398, 400), (410, 397), (420, 404), (420, 414), (427, 425), (433, 445), (441, 476), (437, 487), (450, 505),
                (460, 520), (459, 530), (453, 529), (436, 510), (428, 498), (423, 512), (432, 530), (455, 551), (456, 557), (450, 566),
                (439, 567), (441, 559), (425, 545), (408, 522), (400, 528), (391, 552), (384, 549), (373, 543), (373, 540), (383, 541),
                (389, 530), (391, 509), (378, 502), (366, 497), (367, 491), (378, 494), (387, 474), (392, 450), (394, 435),
            ]
        ],
    ),
}


def in_environment():
    """Starts again inside the environment, which is made first if need be."""
    if Path(sys.prefix) == VENV:
        return
    python = VENV / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def examples():
    """The folder of the unpacked package."""
    unpacked = SOURCES / "x" / EXAMPLES
    if not unpacked.is_dir():
        debs = SOURCES / "deb"
        debs.mkdir(parents=True, exist_ok=True)
        if not list(debs.glob("opencv-doc_*.deb")):
            subprocess.run(["apt-get", "download", "opencv-doc"], cwd=debs, check=True)
        subprocess.run(["dpkg", "-x", sorted(debs.glob("opencv-doc_*.deb"))[-1], SOURCES / "x"], check=True)
    return unpacked


def read(folder, name):
    import cv2

    path, _, frame = name.partition("#")
    if not frame:
        picture = cv2.imread(str(folder / path), cv2.IMREAD_COLOR)
    else:
        video = cv2.VideoCapture(str(folder / path))
        for _ in range(int(frame) + 1):
            picture = video.read()[1]
    if picture is None:
        sys.exit(f"{folder / name} cannot be read")
    return picture


def main():
    in_environment()
    import cv2
    import numpy as np

    folder = examples()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, (source, (left, top, right, bottom), polygons) in PHOTOGRAPHS.items():
        picture = read(folder, source)
        height, width = picture.shape[:2]
        right, bottom = min(right, width), min(bottom, height)
        fine = np.zeros((height * FINER, width * FINER), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(fine, [np.round(np.array(polygon) * FINER).astype(np.int32)], 255)
        side = 2 * GROW * FINER + 1
        fine = cv2.dilate(fine, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        mask = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(OUT / f"{name}_C.png"), picture[top:bottom, left:right])
        cv2.imwrite(str(OUT / f"{name}_M.png"), mask[top:bottom, left:right])
    print(f"{len(PHOTOGRAPHS)} photographs in {OUT}")


if __name__ == "__main__":
    main()
