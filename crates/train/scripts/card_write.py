#!/usr/bin/env python3
"""Puts the tables that card_tables.sh made into the model card, between the sentences that stand around them.

    python3 crates/train/scripts/card_write.py [OUT] [CARD]

OUT is where the tables are (local/card), CARD the file (weights/layerdecomp-s/README.md). A table that is not there leaves its place as it is.
"""

import json
import sys
from pathlib import Path

COLUMNS = [
    ("whole", "whole", 2),
    ("object", "object", 2),
    ("effect", "effect", 2),
    ("both", "both", 2),
    ("outside", "outside", 2),
    ("c.effect", "effect_by_case", 2),
    ("c.both", "both_by_case", 2),
    ("recomp", "recomposition", 2),
    ("alpha", "alpha", 4),
    ("a.effect", "alpha_effect", 4),
    ("a.outside", "alpha_outside", 4),
    ("S.object", "ssim_object", 4),
]
PERCEPTUAL = [("both", "both", 2), ("ST-LPIPS", "st_lpips", 4), ("Fréchet", "frechet", 6)]


def some(*names):
    return [column for column in COLUMNS if column[0] in names]


def table(lines, columns, seconds=False, first="method"):
    """A Markdown table of lines of one set, or (first: set) of one method on several sets."""

    def number(value, places):
        return "-" if value is None else f"{value:.{places}f}"

    titles = [first, *(title for title, _, _ in columns), *(["s/case"] if seconds else [])]
    out = ["| " + " | ".join(titles) + " |", "| --- |" + " ---: |" * (len(titles) - 1)]
    for line in lines:
        row = [line["set"].capitalize() if first == "set" else line["method"]]
        row += [number(line["scores"].get(key), places) for _, key, places in columns]
        row += [f"{line['seconds']:.3f}"] if seconds else []
        out.append("| " + " | ".join(row) + " |")
    return "\n".join(out) + "\n"


def by_set(lines, columns, seconds=False):
    """A table for each set, under its name and number of cases."""
    out = ""
    for name in dict.fromkeys(line["set"] for line in lines):
        of = [line for line in lines if line["set"] == name]
        out += f"{name.capitalize()}, {of[0]['cases']} cases:\n\n{table(of, columns, seconds)}\n"
    return out


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "local/card")
    card = Path(sys.argv[2] if len(sys.argv) > 2 else "weights/layerdecomp-s/README.md")
    text = card.read_text()

    def put(names, begin, end, make):
        """Replaces what stands between the paragraph that begins with `begin` and the text `end`."""
        nonlocal text
        files = [out / f"{name}.json" for name in names]
        if not all(file.exists() for file in files):
            print(f"{', '.join(names)}: not in {out}, left as it is")
            return
        first = text.index("\n\n", text.index(begin)) + 2
        last = text.index(end, first)
        text = text[:first] + make(*(json.loads(file.read_text()) for file in files)) + text[last:]

    def held_out(network, classical):
        # The network's lines first, set by set.
        return by_set(network + classical, COLUMNS)

    solver = "With the full-resolution solver (`peel`)"
    pictures = "20 held-out pictures of 384"
    scenes = "Scenes rendered of held-out models"
    masks = "Tight and loose masks"
    steps = "Steps against quality against time"
    perceptual = "Perceptual distance of the backgrounds"
    short = ("whole", "object", "effect", "both", "outside")
    without = [column for column in COLUMNS if column[0] != "S.object"]
    put(["network", "classical"], '"c.": the mean of the cases', solver, held_out)
    put(["solver"], solver, pictures, lambda lines: by_set(lines, without))
    put(["pictures"], pictures, scenes, lambda lines: table(lines, without) + "\n")
    put(["scenes"], scenes, masks, lambda lines: table(lines, without) + "\n")
    columns = some(*short, "c.both", "alpha", "a.outside")
    put(["masks"], masks, steps, lambda lines: table(lines, columns, first="set") + "\n")
    timed = some(*short, "recomp", "alpha", "a.outside")
    put(["steps"], steps, perceptual, lambda lines: by_set(lines, timed, seconds=True))
    put(["perceptual"], perceptual, "## What each part is worth", lambda lines: by_set(lines, PERCEPTUAL))
    card.write_text(text)


if __name__ == "__main__":
    main()
