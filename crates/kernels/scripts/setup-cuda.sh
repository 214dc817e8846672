#!/usr/bin/env bash
# A CUDA 13.0 compiler from PyPI, for machines with and without a card: enough to build Peel with `--features cuda`.
# No CUDA library is linked: the driver is loaded when Peel starts, if there is one. 13.0 because data-centre drivers (580) take it.
#
#   crates/kernels/scripts/setup-cuda.sh [FOLDER]     about 300 MB, by default into local/cuda
#   source FOLDER/env.sh
#   cargo build --release --features cuda
set -euo pipefail
folder=${1:-local/cuda}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ -x "$folder/bin/pip" ] || python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
root=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia/cu13
# nvcc.profile looks for lib64; the wheels call it lib.
ln -sfn lib "$root/lib64"
cat > "$folder/env.sh" <<V
export CUDA_HOME="$root" PATH="$root/bin:\$PATH"
V
"$root/bin/nvcc" --version | tail -2
echo "now: source $folder/env.sh"
