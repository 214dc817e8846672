#!/usr/bin/env bash
# Everything that wants a real card, in one run, for a machine that has one: parity of every kernel with its twin, compute-sanitizer,
# times against the floor and against PyTorch. Not yet run anywhere: there was no card to run it on.
#
#   crates/kernels/scripts/setup-cuda.sh && source local/cuda/env.sh      # or a toolkit of your own, with compute-sanitizer
#   crates/kernels/scripts/on-a-card.sh [FOLDER]                          # what it finds, by default local/on-a-card
#
# PyTorch is taken from $PYTHON (python3), if it has torch with CUDA; compute-sanitizer from $SANITIZER or the PATH, if it is there.
# Whatever is left out is said. Exits 1 where something was wrong.
set -uo pipefail
cd "$(dirname "$0")/../../.."
out=${1:-local/on-a-card}
mkdir -p "$out"
python=${PYTHON:-python3}
sanitizer=${SANITIZER:-compute-sanitizer}
wrong=0

step() { # name, command...
    local name=$1
    shift
    echo "== $name"
    if "$@" > "$out/$name.txt" 2>&1; then
        tail -n 3 "$out/$name.txt"
    else
        wrong=1
        echo "FAILED, see $out/$name.txt"
        tail -n 20 "$out/$name.txt"
    fi
}

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader | tee "$out/card.txt" || {
    echo "nvidia-smi finds no card: nothing to do here" >&2
    exit 1
}

step build cargo build --release --features cuda --bin peel
# The suite runs every case on the card as well, once it is built for cards and there is one.
step parity cargo test --release -p peel-kernels --features cuda --test suite -- --nocapture --test-threads=1
suite=$(cargo test --release -p peel-kernels --features cuda --test suite --no-run --message-format=json 2> /dev/null |
    grep -o '"executable":"[^"]*/suite-[^"]*"' | tail -n 1 | cut -d'"' -f4)

if command -v "$sanitizer" > /dev/null && [ -n "$suite" ]; then
    for tool in memcheck racecheck initcheck synccheck; do
        PEEL_CARD_ONLY=1 step "$tool" "$sanitizer" --tool "$tool" --error-exitcode 1 "$suite" --test-threads=1 --skip faults --skip execution
    done
else
    echo "== no $sanitizer here: memcheck, racecheck, initcheck and synccheck are left out"
fi

peel=target/release/peel
for size in 128x128 512x512 1024x1024; do
    for batch in 1 8; do
        step "bench-$size-$batch" "$peel" bench model --device cuda --size "$size" --batch "$batch" --steps 10
    done
done
step quickstart "$peel" render graphs/quickstart.ron --device cuda --no-cache

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    step torch "$python" crates/layerdecomp/benches/against_torch.py --device cuda --peel "$peel"
else
    echo "== $python has no torch with CUDA: the comparison is left out"
fi
exit $wrong
