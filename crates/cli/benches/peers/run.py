"""Compares peel with its peers: the same pictures, the same jobs, in turn, in one run. Prints markdown.

    python3 crates/cli/benches/peers/run.py [--peel target/release/peel] [--rounds 3] [--jobs over,rotate] [--peers libvips]

Makes its own virtual environments and pictures under local/peers. Peers: oiiotool (PyPI OpenImageIO), Blender's compositor
(PyPI bpy), libvips (the system's `vips`, Debian: libvips-tools). One that cannot be had is left out with a line saying
so. Reading and writing half RGBA ZIP at 3840x2160 are part of every job. libvips reads EXR but writes none; it and Peel are
compared once more, both reading that file and writing raw floats ("peel, raw floats"); Peel's reach the disk before it says
so, libvips's when the system gets to it. What counts is CPU-seconds (user
and system, of all threads), which other work on the machine disturbs least; of several rounds the median. Blender is
measured warm, within one process.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import jobs

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[3]
PLACE = ROOT / "local" / "peers"
PEEL, RAW_PEEL = "peel", "peel, raw floats"
# Half has 11 bits: a value may differ by two of its steps, and one in a thousand (edges, other rounding) by more.
STEP, SHARE = 2.0**-10, 1e-3
# Blender's cubic filter is a smooth B-spline, not Catmull-Rom: its grain differs, the means of 8x8 pixels do not.
SMOOTHED, SMOOTHED_STEP, SMOOTHED_SHARE = {("blender", "rotate"), ("blender", "warp")}, 0.02, 0.01


def environment(name, packages):
    """The Python of a virtual environment with these packages, or None."""
    folder = PLACE / name
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    make = [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-q", *packages]]
    for command in make:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"({' '.join(packages)} cannot be installed: {done.stderr.strip().splitlines()[-1:]})")
            return None
    (folder / "complete").touch()
    return python


def measure(command):
    """CPU-seconds, seconds, largest resident MB, output."""
    reader, writer = os.pipe()
    begun = time.monotonic()
    actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_DUP2, writer, 2), (os.POSIX_SPAWN_CLOSE, reader)]
    child = os.posix_spawnp(str(command[0]), [str(part) for part in command], os.environ, file_actions=actions)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))}: {text.strip()[-500:]}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begun, usage.ru_maxrss / 1024, text


class Peers:
    def __init__(self, peel, rounds, chosen):
        self.peel, self.rounds, self.chosen, self.pictures = peel, rounds, chosen, PLACE / "in"
        # Makes and compares the pictures too.
        self.oiio = environment("oiio", ["OpenImageIO", "numpy"])
        self.bpy = environment("bpy", ["bpy"]) if "blender" in chosen else None
        self.vips = shutil.which("vips") if "libvips" in chosen else None
        if "libvips" in chosen and not self.vips:
            print("(libvips is left out: apt-get install libvips-tools)")
        (PLACE / "out").mkdir(parents=True, exist_ok=True)
        if not (self.pictures / "complete").exists():
            subprocess.run([self.oiio, HERE / "inputs.py", self.pictures], check=True)
            (self.pictures / "complete").touch()

    def commands(self, job):
        """Program, file, command."""
        out = lambda name: PLACE / "out" / name
        def peel(file, how=""):
            graph = file.with_suffix(".ron")
            graph.write_text(jobs.graph(job, self.pictures, file, how))
            return [self.peel, "render", graph, "--progress", "none"]

        yield PEEL, out(f"{job}.peel.exr"), peel(out(f"{job}.peel.exr"))
        if self.oiio and "oiiotool" in self.chosen:
            file = out(f"{job}.oiiotool.exr")
            yield "oiiotool", file, [self.oiio.parent / "oiiotool", *jobs.oiiotool(job, self.pictures, file)]
        if self.bpy:
            file = out(f"{job}.blender.exr")
            yield "blender", file, [self.bpy, HERE / "blender.py", job, self.pictures, file, "1"]
        arguments = jobs.vips(job, self.pictures, out("vips.v"))
        if self.vips and arguments:
            yield RAW_PEEL, None, peel(out(f"{job}.raw.exr"), jobs.RAW)
            yield "libvips", None, [self.vips, *arguments]

    def run(self, job):
        """The medians by program."""
        found, files = {}, {}
        for _ in range(self.rounds):
            for name, file, command in self.commands(job):
                try:
                    cpu, wall, memory, text = measure(command)
                except RuntimeError as error:
                    print(f"({name} cannot do {job}: {error})")
                    continue
                warm = [float(line.split()[1]) for line in text.splitlines() if line.startswith("cpu ")]
                if name == "blender" and warm:
                    cpu, wall = warm[-1], float("nan")
                found.setdefault(name, []).append((cpu, wall, memory))
                files[name] = file
        medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in found.items()}
        return medians, files

    def differences(self, job, files):
        """How each peer's picture differs from Peel's, in the frame: name, share beyond the tolerance, allowed share."""
        script = (
            "import sys, numpy as np, OpenImageIO as oiio\n"
            "def read(path):\n"
            "    picture = oiio.ImageBuf(path)\n"
            f"    return picture.get_pixels(oiio.FLOAT, oiio.ROI(0, {jobs.WIDTH}, 0, {jobs.HEIGHT}, 0, 1, 0, 4))\n"
            "a, b = read(sys.argv[1]), read(sys.argv[2])\n"
            "def means(p):\n"
            f"    return p.reshape({jobs.HEIGHT // 8}, 8, {jobs.WIDTH // 8}, 8, 4).mean((1, 3))\n"
            "step = float(sys.argv[3])\n"
            "if sys.argv[4] == 'smoothed':\n"
            "    a, b = means(a), means(b)\n"
            "print(float((np.abs(a - b) > step * (0.02 + np.abs(b))).mean()))\n"
        )
        for name, file in files.items():
            if file and name != PEEL:
                smoothed = (name, job) in SMOOTHED
                step, share = (SMOOTHED_STEP, SMOOTHED_SHARE) if smoothed else (STEP, SHARE)
                how = [str(files[PEEL]), str(file), str(step), "smoothed" if smoothed else "plain"]
                done = subprocess.run([self.oiio, "-c", script, *how], capture_output=True, text=True, check=True)
                yield name, float(done.stdout), share


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peel", default=ROOT / "target/release/peel", type=pathlib.Path)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--jobs", default=",".join(jobs.TITLES))
    parser.add_argument("--peers", default="oiiotool,blender,libvips")
    options = parser.parse_args()
    peers = Peers(options.peel.resolve(), options.rounds, options.peers.split(","))
    print("| job | program | CPU s | wall s | memory MB | file MB | Peel's CPU / its | Peel's memory / its |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    notes = []
    for job in options.jobs.split(","):
        medians, files = peers.run(job)
        if PEEL not in medians:
            continue
        for name, (cpu, wall, memory) in medians.items():
            ours = medians[RAW_PEEL if name == "libvips" else PEEL]
            ratio = "" if name in (PEEL, RAW_PEEL) else f"{ours[0] / cpu:.2f}"
            share = "" if name in (PEEL, RAW_PEEL) else f"{ours[2] / memory:.2f}"
            size = files[name].stat().st_size / 1e6 if files[name] else float("nan")
            title = jobs.TITLES[job] if name == PEEL else ""
            cells = [title, name, f"{cpu:.2f}", f"{wall:.2f}", f"{memory:.0f}", f"{size:.1f}", ratio, share]
            print("| " + " | ".join(cells).replace("nan", "") + " |", flush=True)
        for name, share, allowed in peers.differences(job, files):
            verdict = "the same picture" if share <= allowed else "ANOTHER PICTURE"
            notes.append(f"- {jobs.TITLES[job]}, {name}: {verdict} ({100 * share:.3f} % of values beyond the tolerance)")
    print(f"\nTolerance: {STEP:g} of (value + 0.02), for all but {100 * SHARE:g} % of values. Against Blender's resampling")
    print(f"(B-spline, Peel's and oiiotool's are Catmull-Rom) {SMOOTHED_STEP:g} of the means of 8x8 pixels, for all but")
    print(f"{100 * SMOOTHED_SHARE:g} %.\n")
    print("\n".join(notes))


if __name__ == "__main__":
    main()
