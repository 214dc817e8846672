#!/usr/bin/env bash
# Prints every table of the model card and draws its sheets: one command, about a quarter of an hour of one core.
#
#   crates/train/scripts/card_tables.sh [WEIGHTS] [OUT]
#
# A table that is there is not made again, unless weights, cases or settings changed; so what was stopped goes on, and the classical
# fillings, which are most of the time and no matter of the weights, can be measured before the weights are there: ONLY="classical" in the
# environment makes those tables alone.
#
# WEIGHTS is a model's folder (weights/layerdecomp-s), OUT takes the tables as Markdown and JSON (local/card). Needs the pool that
# fetch_sources.sh makes (local/pool) and a built `peel` (PEEL=target/release/peel). SHOT is the folder of the sample shot (plate, noball
# and matte_ball, as EXR); without it that table is left out. Counts can be made smaller: CASES, PEEL_CASES, TRACED, STEP_CASES, MASK_CASES,
# PERCEPTUAL_CASES. NICE is how far it steps back for others (15). Cases that OpenCV fills are written once and kept, for as long as the code that draws them stays as it is.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/../../.."
weights="${1:-weights/layerdecomp-s}"
out="${2:-local/card}"
peel="${PEEL:-target/release/peel}"
pool="${POOL:-local/pool}"
shot="${SHOT:-}"
cases="${CASES:-1000}"
peel_cases="${PEEL_CASES:-200}"
traced="${TRACED:-100}"
step_cases="${STEP_CASES:-20}"
mask_cases="${MASK_CASES:-200}"
perceptual_cases="${PERCEPTUAL_CASES:-64}"
only="${ONLY:-}"
nice="${NICE:-15}"
model=(--model "$weights")
mkdir -p "$out"
[ -x "$peel" ] || { echo "$peel is missing: cargo build --release -p peel-cli, or PEEL=its place" >&2; exit 2; }

digest() { sha256sum | cut -c1-12; }
# What the held-out cases are drawn by, and what network and solver say.
drawn="$(find crates/train/src/data crates/train/src/eval/cases.rs -name '*.rs' | sort | xargs cat | digest)"
code="$(find crates/layerdecomp/src crates/plate/src -name '*.rs' | sort | xargs cat | digest)"
network="$(cat "$weights/config.ron" "$weights/model.safetensors" | digest) $code"

# A table: name, then what `peel eval` is given. One core.
tables() {
    local name="$1" start=$SECONDS made_of
    shift
    if [ -n "$only" ] && [[ " $only " != *" $name "* ]]; then return; fi
    made_of="$(echo "$drawn" "$@" | digest)"
    if [[ " $* " == *" --model "* ]]; then made_of="$made_of $network"; fi
    echo "## $name"
    if [ "$(cat "$out/$name.of" 2>/dev/null)" = "$made_of" ]; then
        cat "$out/$name.md"
        echo "($name: as it was)"
    else
        RAYON_NUM_THREADS=1 nice -n "$nice" "$peel" eval "$@" --markdown "$out/$name.md" --json "$out/$name.json"
        echo "$made_of" >"$out/$name.of"
        echo "($name: $((SECONDS - start)) s)"
    fi
    echo
}

# The held-out cases as files, for OpenCV.
written="local/card-cases-$cases-$traced-$drawn"
if [ ! -d "$written" ]; then
    nice -n "$nice" cargo run --quiet --release -p peel-train --example heldout -- "$written.part" "$pool" "$cases" 1000000 128 "$traced"
    mv "$written.part" "$written"
fi
opencv="$written-opencv"
classical=()
for method in telea ns telea+4 ns+4 telea+9 ns+9; do
    classical+=(--files "$method=$opencv/$method")
done
if [ ! -d "$opencv" ]; then
    nice -n "$nice" python3 "$here/opencv_baselines.py" "$written" "$opencv.part" telea ns telea+4 ns+4 telea+9 ns+9
    mv "$opencv.part" "$opencv"
fi
perceptual=local/perceptual/stlpips.safetensors
[ -f "$perceptual" ] || python3 "$here/stlpips.py"

# 1. Network and classical methods on everything that is held out.
tables classical "$pool" --count "$cases" --traced "$traced" --methods classical,patchmatch "${classical[@]}"
tables network "$pool" "${model[@]}" --count "$cases" --traced "$traced" --methods network --steps 0,2
# 2. Network and full-resolution solver beside each other, on the first of the same cases.
tables solver "$pool" "${model[@]}" --count "$peel_cases" --methods network,peel --steps 0,2 --peel-steps 0,2
# 3. 20 larger pictures, as a user has them: 384 and 256 pixels, the network at 128.
if [ ! -d local/eval20 ]; then
    cargo run --quiet --release -p peel-train --example heldout -- local/eval20 "$pool"
fi
[ -d local/eval20-opencv/ns+9 ] || python3 "$here/opencv_baselines.py" local/eval20 local/eval20-opencv
tables pictures local/eval20 "${model[@]}" --model-size 128 --methods network,peel,classical,patchmatch --steps 0,2 --peel-steps 0,2 \
    --files telea=local/eval20-opencv/telea --files telea+9=local/eval20-opencv/telea+9 --files ns=local/eval20-opencv/ns \
    --files ns+9=local/eval20-opencv/ns+9 --files telea-oracle=local/eval20-opencv/telea-oracle --sheet "$out/pictures.png"
# Scenes rendered of held-out models and grounds (render/render.py --held-out --count 72 --seed 2 --size 256 --samples 32 --out local/rendered-heldout).
if [ -f local/rendered-heldout/index.json ]; then
    [ -d local/rendered-heldout-opencv/ns+9 ] || python3 "$here/opencv_baselines.py" local/rendered-heldout local/rendered-heldout-opencv
    tables scenes local/rendered-heldout "${model[@]}" --model-size 128 --methods network,peel,classical,patchmatch --steps 0 --peel-steps 0 \
        --files telea=local/rendered-heldout-opencv/telea --files telea+9=local/rendered-heldout-opencv/telea+9 \
        --files ns=local/rendered-heldout-opencv/ns --files ns+9=local/rendered-heldout-opencv/ns+9
fi
# 4. Tight against loose masks.
tables masks "$pool" "${model[@]}" --count "$mask_cases" --methods network --steps 0 --masks tight,loose,hull
# 5. Steps against quality against time. Over the straight line, uniform, leading and trailing spacing are one.
tables steps "$pool" "${model[@]}" --count "$step_cases" --methods network --steps 0,50,20,10,4,2,1 \
    --sampler ddim,dpm++2m,dpm++2m-karras,unipc,unipc-karras
# 6. Perceptual distance.
tables perceptual "$pool" "${model[@]}" --count "$perceptual_cases" --methods network,peel,classical,patchmatch --steps 0,2 \
    --perceptual "$perceptual" --files telea="$opencv/telea" --files telea+9="$opencv/telea+9"
# 7. The sample shot, for flicker.
if [ -n "$shot" ] && [ -z "$only" ]; then
    shot="$(cd "$shot" && pwd)"
    mkdir -p local/shot-cases
    for frame in "$shot"/plate.*.exr; do
        number="$(basename "$frame" .exr)"
        number="${number#plate.}"
        ln -sf "$frame" "local/shot-cases/ball.${number}_C.exr"
        ln -sf "$shot/matte_ball.$number.exr" "local/shot-cases/ball.${number}_M.exr"
        ln -sf "$shot/noball.1001.exr" "local/shot-cases/ball.${number}_B.exr"
    done
    # The whole program on the sequence, without and with real pixels of other frames.
    decompose=("$peel" decompose "$shot/plate.####.exr" --mask "ball=$shot/matte_ball.####.exr" --model "$(realpath "$weights")" --progress none)
    sequences=()
    for motion in off locked; do
        frames="$out/shot-$motion-$network"
        [ -d "$frames" ] || nice -n "$nice" "${decompose[@]}" --motion "$motion" --window 7 -o "$frames/ball.####.exr"
        sequences+=(--files "motion $motion=$frames")
    done
    tables shot local/shot-cases "${model[@]}" --model-size 128 --methods network,peel,classical --steps 0,2 "${sequences[@]}" \
        --sheet "$out/shot.png"
fi
# 8. Real photographs.
[ -d local/photographs ] || python3 "$here/real_photographs.py"
tables photographs local/photographs --layout photographs "${model[@]}" --methods peel --sheet "$out/photographs.jpg" --sheet-size 160
echo "tables and sheets in $out; $SECONDS s in all"
