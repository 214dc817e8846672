// The matrix product under linear layers and convolutions: y (m, n) = a (m, k) b (n, k)ᵀ, bf16 in, f32 sums.
//
// A block of 128 threads makes 64 x 64 of y in steps of 32 along k; each of its four warps a quarter, with m16n8k16 products.
// The next step's numbers travel from memory to registers while this step's are multiplied. Where the numbers come from and
// what becomes of the sums is the caller's: `A` and `B` give eight numbers along k, `End` takes a row, a column and a sum.
#pragma once
#include "common.cuh"

constexpr int GEMM_THREADS = 128;
// Blocks that a processor should hold at once: at most 128 registers a thread.
constexpr int GEMM_BLOCKS = 4;
constexpr int GEMM_TILE = 64;
constexpr int GEMM_STEP = 32;
// Eight numbers of padding: the rows that a product reads at once lie in different banks.
constexpr int GEMM_STRIDE = GEMM_STEP + 8;
constexpr int GEMM_SHARED = 2 * GEMM_TILE * GEMM_STRIDE * 2;

// Eight numbers of one row from column k on; zeros outside.
__device__ __forceinline__ Eight zeros() {
    Eight e;
#pragma unroll
    for (int i = 0; i < 8; i++) e.v[i] = to_bf16(0.0f);
    return e;
}

template <class A, class B, class End>
__device__ __forceinline__ void gemm(const A& a, const B& b, const End& end, int m, int n, int k) {
    const Shared<bf16> tile_a(0), tile_b(GEMM_TILE * GEMM_STRIDE * 2);
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int group = lane / 4, pair = lane % 4 * 2;
    const int row0 = blockIdx.y * GEMM_TILE, column0 = blockIdx.x * GEMM_TILE;
    const int warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
    // Each thread carries two eights of either tile: rows 0..32 and 32..64.
    const int load_row = thread / 4, load_k = thread % 4 * 8;

    Eight next_a[2], next_b[2];
    const auto fetch = [&](int k0) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            next_a[i] = a.eight(row0 + load_row + 32 * i, k0 + load_k);
            next_b[i] = b.eight(column0 + load_row + 32 * i, k0 + load_k);
        }
    };

    float sums[2][4][4] = {};
    fetch(0);
    for (int k0 = 0; k0 < k; k0 += GEMM_STEP) {
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            store_eight(tile_a, (load_row + 32 * i) * GEMM_STRIDE + load_k, next_a[i]);
            store_eight(tile_b, (load_row + 32 * i) * GEMM_STRIDE + load_k, next_b[i]);
        }
        __syncthreads();
        if (k0 + GEMM_STEP < k) fetch(k0 + GEMM_STEP);
#pragma unroll
        for (int kk = 0; kk < GEMM_STEP; kk += 16) {
            uint32_t fa[2][4], fb[4][2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int at = (warp_row + 16 * i + group) * GEMM_STRIDE + kk + pair;
                fa[i][0] = get_pair(tile_a, at);
                fa[i][1] = get_pair(tile_a, at + 8 * GEMM_STRIDE);
                fa[i][2] = get_pair(tile_a, at + 8);
                fa[i][3] = get_pair(tile_a, at + 8 * GEMM_STRIDE + 8);
            }
#pragma unroll
            for (int j = 0; j < 4; j++) {
                const int at = (warp_column + 8 * j + group) * GEMM_STRIDE + kk + pair;
                fb[j][0] = get_pair(tile_b, at);
                fb[j][1] = get_pair(tile_b, at + 8);
            }
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) mma_16x8x16(sums[i][j], fa[i], fb[j]);
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int row = row0 + warp_row + 16 * i + group + e / 2 * 8;
                const int column = column0 + warp_column + 8 * j + pair + e % 2;
                if (row < m && column < n) end(row, column, sums[i][j][e]);
            }
}

// Rows of bf16, k numbers each; k is a multiple of 8.
struct Rows {
    const bf16* values;
    int rows, k;
    __device__ __forceinline__ Eight eight(int row, int at) const {
        return row < rows && at < k ? load_eight(values + size_t(row) * k + at) : zeros();
    }
};

// Rows of whole numbers, 128 being zero: exact in bf16; their scale is applied to the sums.
struct WholeRows {
    const uint8_t* values;
    int rows, k;
    __device__ __forceinline__ Eight eight(int row, int at) const {
        if (row >= rows || at >= k) return zeros();
        Eight e;
        const Bytes whole = load_bytes(values + size_t(row) * k + at);
#pragma unroll
        for (int i = 0; i < 8; i++) e.v[i] = to_bf16(float(whole.at(i)) - 128.0f);
        return e;
    }
};
