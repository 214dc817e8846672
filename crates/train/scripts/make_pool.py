"""Packs unpacked source packages into one pool: pool.bin (raw bytes) and index.json (what lies where).

Called by fetch_sources.sh. An entry of the index:
    {"kind": "background" | "object" | "triplet", "group": ..., "name": ..., "licence": ..., "held_out": bool,
     "width": w, "height": h, "offset": byte offset}
Backgrounds are RGB u8, objects RGBA u8 with premultiplied colour, triplets C (RGB), B (RGB), M (1), L (RGBA, premultiplied)
one after another; all display-referred sRGB. A picture is held out by a hash of its source's name, so that every crop, size
and rendering of one picture, object or ground falls on the same side; the package opencv-doc is held out as a whole.
"""

import argparse
import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import cv2
import numpy as np

from split import held_out

# Pictures that are user-interface drawings, flat colour or not for this use.
SKIP = re.compile(r"lena|logo|screen|normal|_nm\b|_nm\.|gloss|alpha|colormask|displace|gfx|mask|minimap|loadscreen|thumb|chess|playing|cards|^left\d|^right\d|letter|flag", re.I)


def stem(name: str) -> str:
    """The source's name without folder, ending and trailing view number, so that views of one thing stay together."""
    base = Path(name).stem
    return re.sub(r"[-_ ]?(left|right|front|back|side|top|\d{1,2})$", "", base, flags=re.I) or base


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


class Pool:
    """`training_photos`: longest side of photographs to train on; a crop of a large one is another picture at each scale. Held-out
    pictures are `detail` times as large as usual, so that what is measured on them does not move with the training's."""

    def __init__(self, out: Path, training_photos: int, detail: float, held_out_only: bool):
        self.file = open(out / "pool.bin.part", "wb")
        self.out = out
        self.training_photos = training_photos
        self.detail = detail
        self.held_out_only = held_out_only
        self.index = []
        self.fingers = set()
        # With those that are not packed: which pictures are taken does not depend on it.
        self.seen_pictures = 0

    def longest(self, usual: int, held: bool, photo: bool = False) -> int:
        if held:
            return round(usual * self.detail)
        return max(usual, self.training_photos) if photo else usual

    def put(self, kind, group, name, licence, held, arrays):
        self.seen_pictures += 1
        if self.held_out_only and not held:
            return
        height, width = arrays[0].shape[:2]
        entry = dict(kind=kind, group=group, name=name, licence=licence, held_out=bool(held))
        entry.update(width=width, height=height, offset=self.file.tell())
        for array in arrays:
            self.file.write(np.ascontiguousarray(array, np.uint8).tobytes())
        self.index.append(entry)

    def background(self, group, name, licence, bgr, longest, key=None, force_held=False, to_train=False):
        """A picture without alpha. Tiny, flat or doubled ones are left out. `to_train`: it is never held out, so that sources can be added
        without a change of what is measured."""
        if bgr is None or min(bgr.shape[:2]) < 120:
            return
        if bgr.ndim == 2:
            bgr = cv2.cvtColor(bgr, cv2.COLOR_GRAY2BGR)
        if bgr.shape[2] == 4:
            if (bgr[..., 3] < 250).mean() > 0.01:
                return
            bgr = bgr[..., :3]
        held = (force_held or held_out(key or stem(name))) and not to_train
        # What is told apart and left out is told by the usual size, whatever is packed.
        large, bgr = bgr, shrink(bgr, longest)
        # Texture atlases and drawings on empty paper: mostly pure white or black.
        empty = ((bgr.min(2) > 249) | (bgr.max(2) < 4)).mean()
        if bgr.std() < 6 or empty > 0.25:
            return
        finger = cv2.resize(bgr, (8, 8), interpolation=cv2.INTER_AREA).astype(int) // 24
        finger = hashlib.md5(finger.tobytes()).hexdigest()
        if finger in self.fingers:
            return
        self.fingers.add(finger)
        large = shrink(large, self.longest(longest, held, group == "photo"))
        self.put("background", group, name, licence, held, [cv2.cvtColor(large, cv2.COLOR_BGR2RGB)])

    def object(self, group, name, licence, bgra, key=None, longest=208):
        """A cut-out: cropped to its alpha, premultiplied before it is scaled."""
        if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4:
            return
        alpha = bgra[..., 3]
        if alpha.max() < 200 or (alpha > 128).sum() < 300:
            return
        ys, xs = np.where(alpha > 20)
        bgra = bgra[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        fill = (bgra[..., 3] > 128).mean()
        ratio = bgra.shape[0] / bgra.shape[1]
        if not 0.12 < fill < 0.97 or not 0.2 < ratio < 5:
            return
        light = bgra.astype(np.float32) / 255
        light[..., :3] *= light[..., 3:]
        held = held_out(key or stem(name))
        light = shrink(light, self.longest(longest, held))
        rgba = np.dstack([light[..., 2], light[..., 1], light[..., 0], light[..., 3]])
        self.put("object", group, name, licence, held, [np.clip(rgba * 255 + 0.5, 0, 255)])

    def close(self):
        self.file.close()
        (self.out / "pool.bin.part").rename(self.out / "pool.bin")
        (self.out / "index.json").write_text(json.dumps(self.index, indent=0))


def pictures(folder: Path, endings=("jpg", "jpeg", "png", "webp")):
    return sorted(f for f in folder.rglob("*") if f.suffix.lower().lstrip(".") in endings and f.is_file())


def read(path: Path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def read8(path: Path):
    image = read(path)
    return None if image is None or image.dtype != np.uint8 else image


def biggest_per_folder(files):
    best = {}
    for f in files:
        if f.parent not in best or f.stat().st_size > best[f.parent].stat().st_size:
            best[f.parent] = f
    return sorted(best.values())


def backgrounds(pool: Pool, x: Path):
    for f in pictures(x / "usr/share/backgrounds"):
        group = "photo" if "abstract" not in f.parts else "abstract"
        licence = "CC-BY-SA / CC-BY / GPL, see the package"
        pool.background(group, f.name, licence, read8(f), 640, key=f.name)
    for f in biggest_per_folder(pictures(x / "usr/share/wallpapers")):
        wallpaper = f.parts[f.parts.index("wallpapers") + 1]
        pool.background("photo", wallpaper, "CC-BY-SA-4.0 / LGPL-3, see the package", read8(f), 640, key=wallpaper)
    for f in pictures(x / "usr/share/lxqt"):
        if f.stat().st_size > 60_000:
            pool.background("abstract", f.name, "LGPL-2.1+ / CC-BY-SA", read8(f), 640)
    for f in pictures(x / "usr/share/scratch/Media/Backgrounds"):
        pool.background("photo", f.name, "CC-BY-SA-2.0", read8(f), 480)
    for f in pictures(x / "usr/share/tuxpaint"):
        if "stamps" not in f.parts and f.stat().st_size > 40_000 and not SKIP.search(f.name):
            pool.background("photo", f.name, "GPL-2+", read8(f), 480)
    for f in pictures(x / "usr/share/doc/opencv-doc/examples"):
        if f.stat().st_size > 25_000 and not SKIP.search(f.name):
            pool.background("photo", f.name, "Apache-2.0 (held out, only evaluated on)", read8(f), 640, force_held=True)
    names = "astronaut chelsea coffee rocket brick grass gravel motorcycle china flower".split()
    for f in pictures(x / "pypi-scikit_image") + pictures(x / "pypi-scikit_learn"):
        if any(f.name.startswith(n) for n in names):
            pool.background("photo", f.name, "CC0 / public domain / CC-BY, see the wheel", read8(f), 512, key=f.name)
    kart = x / "usr/share/games/supertuxkart/data"
    for f in pictures(kart / "textures") + pictures(kart / "tracks") + pictures(kart / "library"):
        if f.stat().st_size > 30_000 and not SKIP.search(f.name):
            image = read8(f)
            if image is not None and min(image.shape[:2]) >= 250:
                pool.background("texture", f.name, "CC-BY-SA-3.0/4.0, GPL-3 or public domain, see the package", image, 320)


# Other maps of a texture than its colour: heights, normals, gloss, glow, speculars, players' colours.
MAPS = re.compile(r"_(nm|sm|rm|gm|h|norm|local|bump|gloss|glow|luma|shirt|pants|env|blend)$", re.I)


def game_textures(pool: Pool, x: Path):
    """Grounds and walls of games, to train on alone; larger than 250 pixels."""

    def put(name, licence, image):
        if image is not None and image.dtype == np.uint8 and min(image.shape[:2]) >= 250:
            pool.background("texture", name, licence, image, 320, to_train=True)

    def wanted(name, bytes):
        return bytes > 30_000 and not SKIP.search(name) and not MAPS.search(Path(name).stem)

    games = x / "usr/share/games"
    for archive, licence in (
        ("nexuiz/data/textures.pk3", "GPL-2+"),
        ("openarena/baseoa/pak4-textures.pk3", "GPL-2+"),
        ("ufoai/base/0textures.pk3", "GPL-2+, CC-BY-SA-3.0 and others, by file"),
    ):
        with zipfile.ZipFile(games / archive) as pack:
            for item in sorted(pack.infolist(), key=lambda item: item.filename):
                if item.filename.lower().endswith((".jpg", ".png")) and wanted(item.filename, item.file_size):
                    data = np.frombuffer(pack.read(item), np.uint8)
                    put(item.filename, licence, cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
    for f in pictures(games / "torcs/tracks") + pictures(games / "torcs/data/textures"):
        if wanted(f.name, f.stat().st_size):
            put(f"torcs/{f.parent.name}/{f.name}", "GPL-2+ / Free Art License, by file", read8(f))


# Of GCompris' activities those whose pictures are photographs (and paintings).
PHOTO_ACTIVITIES = "details erase explore_farm_animals explore_monuments explore_world_animals explore_world_music".split()
PICTURE_BEGINS = re.compile(rb"\xff\xd8\xff[\xdb\xe0\xe1]|RIFF....WEBP|\x89PNG\r\n\x1a\n", re.S)


def more_photographs(pool: Pool, x: Path):
    """Photographs to train on alone: puzzles, and those of GCompris, which lie whole in its resource files."""
    licence = "CC-BY, CC-BY-SA, CC0 or public domain, by file, see the package"
    for f in pictures(x / "usr/share/palapeli/collection"):
        pool.background("photo", f"palapeli/{f.name}", licence, read8(f), 640, to_train=True)
    for activity in PHOTO_ACTIVITIES:
        packed = np.fromfile(x / f"usr/share/gcompris-qt/rcc/{activity}.rcc", np.uint8)
        starts = [found.start() for found in PICTURE_BEGINS.finditer(packed.tobytes())]
        for number, (start, end) in enumerate(zip(starts, starts[1:] + [len(packed)])):
            image = cv2.imdecode(packed[start:end], cv2.IMREAD_UNCHANGED)
            if image is not None and image.dtype == np.uint8 and min(image.shape[:2]) >= 250:
                pool.background("photo", f"gcompris/{activity}/{number}", licence, image, 640, to_train=True)


LICENCES = {
    "BlendSwap-CC-0": "CC0",
    "BlendSwap-CC-BY": "CC-BY-3.0",
    "KatorLegaz": "CC-BY-3.0",
    "Reallusion": "CC-BY-3.0",
    "Scopia": "CC-BY-3.0",
}


def furniture(pool: Pool, x: Path):
    """Rendered icons of the models, and the models' photographic textures."""
    for archive in sorted((x / "usr/share/sweethome3d/furniture").glob("*.sh3f")):
        licence = LICENCES.get(archive.stem, "see the package")
        with zipfile.ZipFile(archive) as pack:
            for name in sorted(pack.namelist()):
                if not name.lower().endswith((".png", ".jpg", ".jpeg")):
                    continue
                image = cv2.imdecode(np.frombuffer(pack.read(name), np.uint8), cv2.IMREAD_UNCHANGED)
                if image is None or image.dtype != np.uint8:
                    continue
                # A model's name is the key also for the rendered triplets.
                if image.ndim == 3 and image.shape[2] == 4 and name.count("/") == 1:
                    pool.object("furniture", name, licence, image, key=Path(name).stem)
                elif min(image.shape[:2]) >= 250 and not SKIP.search(name):
                    pool.background("texture", name, licence, image, 320, key=Path(name).name)


CLIP_FOLDERS = "animals food transportation people plants tools recreation office electronics containers buildings clothing household".split()


def objects(pool: Pool, x: Path):
    stamps = x / "usr/share/tuxpaint/stamps"
    for f in pictures(stamps, ("png",)):
        if not {"symbols", "alphabets", "math"} & set(f.parts) and not SKIP.search(f.name):
            pool.object("stamp", str(f.relative_to(stamps)), "GPL-2+ / public domain, see the package", read8(f))
    clips = x / "usr/share/openclipart/png"
    kept = 0
    for f in pictures(clips, ("png",)):
        rel = f.relative_to(clips)
        if rel.parts[0] in CLIP_FOLDERS and not SKIP.search(f.name) and kept < 1600 and f.stat().st_size < 900_000:
            before = pool.seen_pictures
            pool.object("clip", str(rel), "public domain", read8(f))
            kept += pool.seen_pictures - before
    costumes = x / "usr/share/scratch/Media/Costumes"
    for f in pictures(costumes, ("png",)):
        if "Letters" not in f.parts:
            pool.object("clip", f.name, "CC-BY-SA-2.0", read8(f))
    from fontTools.ttLib import TTFont

    strike = TTFont(str(x / "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"))["CBDT"].strikeData[0]
    names = sorted(strike, key=lambda n: hashlib.md5(n.encode()).hexdigest())
    for name in names[:700]:
        png = np.frombuffer(strike[name].imageData, np.uint8)
        pool.object("emoji", name, "OFL-1.1", cv2.imdecode(png, cv2.IMREAD_UNCHANGED), key=name)


def triplets(pool: Pool, folder: Path):
    """Rendered triplets: held out when the model or the ground picture is. Those of render/render.py say of which side they are made."""
    about = json.loads((folder / "index.json").read_text())
    for name, what in sorted(about.items()):
        c, b = read(folder / f"{name}_C.webp"), read(folder / f"{name}_B.webp")
        m, layer = read(folder / f"{name}_M.webp"), read(folder / f"{name}_L.webp")
        if any(i is None for i in (c, b, m, layer)):
            continue
        if m.ndim == 3:
            m = m[..., 0]
        if layer.shape[2] == 3:
            layer = np.dstack([layer, np.full(layer.shape[:2], 255, np.uint8)])
        target = what["target"]
        held = what.get("held_out") or (target.endswith(".obj") and held_out(Path(target).stem)) or (what.get("bg") and held_out(what["bg"]))
        colour = layer[..., 2::-1].astype(np.float32) * (layer[..., 3:] / 255.0)
        rgba = np.dstack([colour + 0.5, layer[..., 3]])
        pool.put("triplet", "render", name, "CC0 / CC-BY models and grounds", held, [c[..., 2::-1], b[..., 2::-1], m, rgba])


def extracted(pool: Pool, folder: Path):
    """Objects that `peel dataset extract` cut out of photographs; all of one photograph fall on the same side."""
    about = json.loads((folder / "index.json").read_text())
    for item in about["objects"]:
        licence = " ".join(filter(None, (item["licence"], item["licence_url"]))) or "not stated"
        pool.object("instance", item["file"], licence, read8(folder / item["file"]), key=item["image"])


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sources", type=Path, required=True, help="folder of unpacked packages")
    arguments.add_argument("--triplets", action="append", default=[], help="folder of rendered triplets; may be given again")
    arguments.add_argument("--objects", default="", help="folder of `peel dataset extract`, or nothing")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--training-photos", type=int, default=1536, help="longest side of photographs to train on")
    arguments.add_argument("--held-out-detail", type=float, default=1.0, help="times the usual longest side, for held-out pictures")
    arguments.add_argument("--held-out-only", action="store_true", help="nothing to train on")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    pool = Pool(options.out, options.training_photos, options.held_out_detail, options.held_out_only)
    backgrounds(pool, options.sources)
    furniture(pool, options.sources)
    game_textures(pool, options.sources)
    more_photographs(pool, options.sources)
    objects(pool, options.sources)
    if options.objects:
        extracted(pool, Path(options.objects))
    for folder in filter(None, options.triplets):
        triplets(pool, Path(folder))
    pool.close()
    counts = {}
    for entry in pool.index:
        key = (entry["kind"], entry["group"], "held out" if entry["held_out"] else "train")
        counts[key] = counts.get(key, 0) + 1
    for key, count in sorted(counts.items()):
        print(*key, count)


if __name__ == "__main__":
    main()
