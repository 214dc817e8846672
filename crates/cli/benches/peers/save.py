"""From a save to the picture: how long `peel watch` takes after one colour parameter of a ten-node 4K graph changed.

    python3 crates/cli/benches/peers/save.py [--peel target/release/peel] [--saves 8]

Saves the graph again and again with another gain, waits for the written EXR each time, and prints wall and CPU seconds of
each save and their median. The first save after the start makes and keeps the pictures above the node at work,
and is not counted. Needs the pictures that run.py makes.
"""

import argparse
import os
import pathlib
import signal
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[3]
PLACE = ROOT / "local" / "peers"

GRAPH = (HERE / "save.ron").read_text()


def cpu(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stamp(path):
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peel", default=ROOT / "target/release/peel", type=pathlib.Path)
    parser.add_argument("--saves", default=8, type=int)
    options = parser.parse_args()
    graph, out = PLACE / "save.ron", PLACE / "out" / "save.exr"
    out.unlink(missing_ok=True)
    graph.write_text(GRAPH.replace("GAIN", "1.0"))
    command = [options.peel, "watch", graph, "--progress", "none"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(out, 0)
        rows = []
        for number in range(options.saves + 1):
            # The watcher must be waiting again before the next save.
            time.sleep(1.0)
            before, used, begun = stamp(out), cpu(process), time.monotonic()
            graph.write_text(GRAPH.replace("GAIN", f"{1.05 + number / 50:.2f}"))
            wait(out, before)
            rows.append((time.monotonic() - begun, cpu(process) - used))
        print("| save | wall s | CPU s |\n|---|---|---|")
        for number, (wall, used) in enumerate(rows):
            print(f"| {number or 'first'} | {wall:.3f} | {used:.2f} |")
        wall, used = (statistics.median(column) for column in zip(*rows[1:]))
        print(f"| median | {wall:.3f} | {used:.2f} |")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def wait(out, before):
    """Until the file is another one than before."""
    deadline = time.monotonic() + 120
    while stamp(out) == before:
        if time.monotonic() > deadline:
            raise SystemExit(f"{out} was not written")
        time.sleep(0.002)


if __name__ == "__main__":
    main()
