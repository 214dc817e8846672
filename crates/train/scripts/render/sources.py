"""What scenes are made of: models of furniture packages, and grounds, walls and skies of the pool; of one side of the split alone."""

import json
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np

from split import held_out

# Things that hang on a wall or from a ceiling, or are flat: they cast no shadow on a floor.
HANGS = re.compile(r"window|door|wall|switch|ceil|socket|curtain|fence|beam|gate|opening|blind|frame|carpet|rug|poster|arrow|text|ground|pool", re.I)

# Models of the sample shot, which is measured on.
SHOT = {"teddyBear", "basketball", "littlePlant"}


def unpack(furniture: Path, unpacked: Path) -> None:
    """Unpacks the catalogues, each into a folder of its name, unless they are there."""
    for archive in sorted(furniture.glob("*.sh3f")):
        whole = unpacked / archive.stem
        if not whole.exists():
            part = whole.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            with zipfile.ZipFile(archive) as pack:
                pack.extractall(part)
            part.rename(whole)


class Models:
    """The models (OBJ) of Debian's `sweethome3d-furniture`, one list over all catalogues, in a fixed order."""

    def __init__(self, furniture: Path, unpacked: Path, held: bool):
        self.unpacked = unpacked
        self.items = []
        for archive in sorted(furniture.glob("*.sh3f")):
            with zipfile.ZipFile(archive) as pack:
                catalogue = pack.read("PluginFurnitureCatalog.properties").decode("latin-1")
                said = dict(line.split("=", 1) for line in catalogue.splitlines() if "=" in line and line[0] != "#")
                names = set(pack.namelist())
            for key, model in said.items():
                if not key.startswith("model#") or not model.endswith(".obj"):
                    continue
                number = key.split("#")[1]
                path, stem = model.strip().lstrip("/"), Path(model).stem
                stands = said.get(f"doorOrWindow#{number}", "false").strip() != "true" and not HANGS.search(stem)
                if stands and path in names and stem not in SHOT and held_out(stem) == held:
                    self.items.append((archive.stem, path))
        if not self.items:
            raise SystemExit(f"no models under {furniture}: run fetch_sources.sh first")

    def draw(self, random) -> Path:
        """A model's file, with its materials and pictures beside it."""
        archive, path = self.items[random.randrange(len(self.items))]
        return self.unpacked / archive / path


class Pictures:
    """Backgrounds of one side of a pool's split, by group: texture, photo, abstract."""

    def __init__(self, pool: Path, held: bool):
        index = json.loads((pool / "index.json").read_text())
        self.bytes = np.memmap(pool / "pool.bin", np.uint8, "r")
        self.groups = {}
        for entry in index:
            if entry["kind"] == "background" and entry["held_out"] == held:
                self.groups.setdefault(entry["group"], []).append(entry)

    def draw(self, random, group: str):
        """A picture of a group: its name, and display-referred RGB of 8 bits, shape (height, width, 3)."""
        entry = random.choice(self.groups[group])
        width, height, start = entry["width"], entry["height"], entry["offset"]
        return entry["name"], self.bytes[start : start + width * height * 3].reshape(height, width, 3)
