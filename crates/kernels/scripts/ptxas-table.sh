#!/usr/bin/env bash
# Registers, shared memory and spills of every kernel on every target, as ptxas tells them: prints the table of `ptxas.md`.
#
#   source local/cuda/env.sh; crates/kernels/scripts/ptxas-table.sh > crates/kernels/ptxas.md
#   crates/kernels/scripts/ptxas-table.sh | diff crates/kernels/ptxas.md -          # nothing changed
#
# Shared memory is asked for at launch, so ptxas does not see it: the column is what the launchers ask for.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "Kernels as compiled by nvcc 13.0.88 (\`scripts/ptxas-table.sh\`): registers a thread, spilled bytes (stores + loads), bytes of stack."
echo
echo "Nothing is spilled. \`paint\` has a stack of 48 bytes by choice: the places and weights of four textures, over which it loops; unrolled, the loop would cost registers everywhere."
echo
echo "| kernel | sm_80 | sm_89 | sm_90 |"
echo "|---|---|---|---|"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for source in cu/*.cu; do
    name=$(basename "$source" .cu)
    flags=()
    case $name in plate | paint) flags=(-fmad=false) ;; esac
    for target in 80 89 90; do
        "${NVCC:-nvcc}" -std=c++17 -O3 "${flags[@]}" --cubin -arch="sm_$target" -Xptxas -v "$source" -o "$work/x" 2>&1 |
            awk -v target="$target" '
                /Compiling entry function/ { split($0, parts, "\047"); kernel = parts[2] }
                /bytes stack frame/ { stack = $1; spills = $5 + $9 }
                /Used [0-9]+ registers/ { for (i = 1; i < NF; i++) if ($i == "Used") print kernel, target, $(i + 1) " / " spills " / " stack }'
    done
done | awk '{ key = $1; at = $2; $1 = $2 = ""; sub(/^ +/, ""); cell[key, at] = $0; if (!(key in seen)) { seen[key] = 1; order[++n] = key } }
    END { for (i = 1; i <= n; i++) print "| " order[i] " | " cell[order[i], 80] " | " cell[order[i], 89] " | " cell[order[i], 90] " |" }' | sort
