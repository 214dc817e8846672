// The backward pass of attention (attention.cu): slopes of queries, keys and values from slopes of what was found.
//
// With L the logarithm of a query's sum of weights, P = exp(q kᵀ - L) comes back without the forward pass's running maximum, and
// dV = Pᵀ dO, dS = P (dO vᵀ - D) with D = Σ dO O of the query, dq = dS k, dk = dSᵀ q. Two kernels: a block of one has 64 queries and
// goes through the keys, a block of the other has 64 keys and goes through the queries, so that each number is summed by one thread in
// one order. Slopes (rows, 3 H D) are f32 and added to: tokens are seen from several sides.
#include "common.cuh"

constexpr int BACK_THREADS = 128;
// Queries or keys of a block.
constexpr int BACK_OWN = 64;
// Those of a step through the others: fewer where a row fills more registers.
template <int D>
constexpr int BACK_STEP = D > 64 ? 16 : 32;

// D = Σ dO O: deltas (N, H, T). One warp a token's head. grid (N T, ceil(H / warps)).
extern "C" __global__ void attention_deltas(const bf16* found, const bf16* slopes, float* deltas, int t, int heads, int d) {
    const int lane = threadIdx.x % 32, row = blockIdx.x, head = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
    if (head >= heads) return;
    const size_t at = size_t(row) * heads * d + size_t(head) * d;
    float sum = 0.0f;
    for (int i = lane; i < d; i += 32) sum += to_float(found[at + i]) * to_float(slopes[at + i]);
    sum = warp_sum(sum);
    if (lane == 0) deltas[(size_t(row / t) * heads + head) * t + row % t] = sum;
}

// Sixteen rows of a matrix in registers, as the left side of products; rows past the last read the last.
template <int D>
__device__ __forceinline__ void load_rows(uint32_t (&to)[D / 16][4], const bf16* from, size_t stride, int row, int rows,
                                          int pair) {
    for (int half = 0; half < 2; half++) {
        const uint32_t* at = reinterpret_cast<const uint32_t*>(from + size_t(min(row + 8 * half, rows - 1)) * stride);
        for (int d = 0; d < D / 16; d++) {
            to[d][half] = at[(16 * d + pair) / 2];
            to[d][2 + half] = at[(16 * d + 8 + pair) / 2];
        }
    }
}

// out (16, BACK_STEP<D>) = own (16, D) rowsᵀ, the rows being in shared memory.
template <int D>
__device__ __forceinline__ void against(float (&out)[BACK_STEP<D> / 8][4], const uint32_t (&own)[D / 16][4],
                                        const Shared<bf16>& rows, int group, int pair) {
    constexpr int STRIDE = D + 8;
    for (int j = 0; j < BACK_STEP<D> / 8; j++)
        for (int d = 0; d < D / 16; d++) {
            const int at = (8 * j + group) * STRIDE + 16 * d + pair;
            const uint32_t b[2] = {get_pair(rows, at), get_pair(rows, at + 8)};
            mma_16x8x16(out[j], own[d], b);
        }
}

// out (16, D) += weights (16, BACK_STEP<D>) rows, the rows being in shared memory.
template <int D>
__device__ __forceinline__ void along(float (&out)[D / 8][4], const float (&weights)[BACK_STEP<D> / 8][4],
                                      const Shared<bf16>& rows, int group, int pair) {
    constexpr int STRIDE = D + 8;
    for (int j = 0; j < BACK_STEP<D> / 16; j++) {
        const uint32_t a[4] = {
            pair_of(weights[2 * j][0], weights[2 * j][1]), pair_of(weights[2 * j][2], weights[2 * j][3]),
            pair_of(weights[2 * j + 1][0], weights[2 * j + 1][1]), pair_of(weights[2 * j + 1][2], weights[2 * j + 1][3])};
        for (int d = 0; d < D / 8; d++) {
            uint32_t b[2];
            for (int upper = 0; upper < 2; upper++) {
                const int at = (16 * j + 8 * upper + pair) * STRIDE + 8 * d + group;
                b[upper] = pair_of(to_float(rows.get(at)), to_float(rows.get(at + STRIDE)));
            }
            mma_16x8x16(out[d], a, b);
        }
    }
}

// BACK_STEP<D> rows of D numbers to shared memory, zeros where `from` says null.
template <int D, class From>
__device__ __forceinline__ void load_step(const Shared<bf16>& to, const From& from) {
    for (int i = threadIdx.x; i < BACK_STEP<D> * D / 8; i += BACK_THREADS) {
        const int row = i / (D / 8), at = i % (D / 8) * 8;
        const bf16* values = from(row);
        Eight e;
        if (values) e = load_eight(values + at);
        else
            for (int k = 0; k < 8; k++) e.v[k] = to_bf16(0.0f);
        store_eight(to, row * (D + 8) + at, e);
    }
}

// Where tokens lie: `s` that are only seen, then `t` of their own.
struct Both {
    const bf16* own;
    const bf16* other;
    int t, s, width;
    __device__ __forceinline__ const bf16* row(int token) const {
        if (token >= t + s) return nullptr;
        return token < s ? other + size_t(token) * 3 * width : own + size_t(token - s) * 3 * width;
    }
};

template <int D>
__device__ __forceinline__ void back_to_queries(const bf16* own, const bf16* other, const bf16* slopes, const float* log_sums,
                                                const float* deltas, float* d_own, int t, int s, int heads) {
    constexpr int STRIDE = D + 8;
    const Shared<bf16> keys(0), values(BACK_STEP<D> * STRIDE * 2);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, pair = lane % 4 * 2;
    const int head = blockIdx.y, sample = blockIdx.z, width = heads * D, all = t + s;
    const Both tokens{own + size_t(sample) * t * 3 * width + head * D, other + size_t(sample) * s * 3 * width + head * D, t, s,
                      width};
    const int query = blockIdx.x * BACK_OWN + warp * 16 + group;

    uint32_t q[D / 16][4], slope[D / 16][4];
    load_rows<D>(q, tokens.own, size_t(3) * width, query, t, pair);
    load_rows<D>(slope, slopes + size_t(sample) * t * width + head * D, width, query, t, pair);
    float log_sum[2], delta[2];
    for (int half = 0; half < 2; half++) {
        const size_t at = (size_t(sample) * heads + head) * t + min(query + 8 * half, t - 1);
        log_sum[half] = log_sums[at];
        delta[half] = deltas[at];
    }

    float found[D / 8][4] = {};
    for (int k0 = 0; k0 < all; k0 += BACK_STEP<D>) {
        __syncthreads();
        load_step<D>(keys, [&](int row) {
            const bf16* at = tokens.row(k0 + row);
            return at ? at + width : nullptr;
        });
        load_step<D>(values, [&](int row) {
            const bf16* at = tokens.row(k0 + row);
            return at ? at + 2 * width : nullptr;
        });
        __syncthreads();
        float scores[BACK_STEP<D> / 8][4] = {}, weighed[BACK_STEP<D> / 8][4] = {};
        against<D>(scores, q, keys, group, pair);
        against<D>(weighed, slope, values, group, pair);
        for (int j = 0; j < BACK_STEP<D> / 8; j++)
            for (int e = 0; e < 4; e++) {
                const bool there = k0 + 8 * j + pair + e % 2 < all;
                const float p = there ? __expf(scores[j][e] - log_sum[e / 2]) : 0.0f;
                scores[j][e] = p * (weighed[j][e] - delta[e / 2]);
            }
        along<D>(found, scores, keys, group, pair);
    }
    for (int half = 0; half < 2; half++) {
        const int row = query + 8 * half;
        if (row >= t) continue;
        float* to = d_own + (size_t(sample) * t + row) * 3 * width + head * D;
        for (int d = 0; d < D / 8; d++) {
            to[8 * d + pair] += found[d][2 * half];
            to[8 * d + pair + 1] += found[d][2 * half + 1];
        }
    }
}

template <int D>
__device__ __forceinline__ void back_to_keys(const bf16* own, const bf16* other, const bf16* slopes, const float* log_sums,
                                             const float* deltas, float* d_own, float* d_other, int t, int s, int heads) {
    constexpr int STRIDE = D + 8;
    const Shared<bf16> queries(0), slope(BACK_STEP<D> * STRIDE * 2);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, group = lane / 4, pair = lane % 4 * 2;
    const int head = blockIdx.y, sample = blockIdx.z, width = heads * D, all = t + s;
    const Both tokens{own + size_t(sample) * t * 3 * width + head * D, other + size_t(sample) * s * 3 * width + head * D, t, s,
                      width};
    const bf16* of_found = slopes + size_t(sample) * t * width + head * D;
    const size_t numbers = (size_t(sample) * heads + head) * t;
    const int key = blockIdx.x * BACK_OWN + warp * 16 + group;

    uint32_t k[D / 16][4], v[D / 16][4];
    for (int half = 0; half < 2; half++) {
        const bf16* at = tokens.row(min(key + 8 * half, all - 1));
        const uint32_t* of_key = reinterpret_cast<const uint32_t*>(at + width);
        const uint32_t* of_value = reinterpret_cast<const uint32_t*>(at + 2 * width);
        for (int d = 0; d < D / 16; d++)
            for (int right = 0; right < 2; right++) {
                k[d][2 * right + half] = of_key[(16 * d + 8 * right + pair) / 2];
                v[d][2 * right + half] = of_value[(16 * d + 8 * right + pair) / 2];
            }
    }

    float of_keys[D / 8][4] = {}, of_values[D / 8][4] = {};
    for (int q0 = 0; q0 < t; q0 += BACK_STEP<D>) {
        __syncthreads();
        load_step<D>(queries, [&](int row) { return q0 + row < t ? tokens.own + size_t(q0 + row) * 3 * width : nullptr; });
        load_step<D>(slope, [&](int row) { return q0 + row < t ? of_found + size_t(q0 + row) * width : nullptr; });
        __syncthreads();
        float scores[BACK_STEP<D> / 8][4] = {}, weighed[BACK_STEP<D> / 8][4] = {};
        against<D>(scores, k, queries, group, pair);
        against<D>(weighed, v, slope, group, pair);
        for (int j = 0; j < BACK_STEP<D> / 8; j++)
            for (int e = 0; e < 4; e++) {
                const int query = q0 + 8 * j + pair + e % 2;
                const float p = query < t ? __expf(scores[j][e] - log_sums[numbers + query]) : 0.0f;
                const float delta = query < t ? deltas[numbers + query] : 0.0f;
                weighed[j][e] = p * (weighed[j][e] - delta);
                scores[j][e] = p;
            }
        along<D>(of_values, scores, slope, group, pair);
        along<D>(of_keys, weighed, queries, group, pair);
    }
    for (int half = 0; half < 2; half++) {
        const int row = key + 8 * half;
        if (row >= all) continue;
        float* to = row < s ? d_other + (size_t(sample) * s + row) * 3 * width : d_own + (size_t(sample) * t + row - s) * 3 * width;
        to += head * D + width;
        for (int d = 0; d < D / 8; d++)
            for (int e = 0; e < 2; e++) {
                to[8 * d + pair + e] += of_keys[d][2 * half + e];
                to[width + 8 * d + pair + e] += of_values[d][2 * half + e];
            }
    }
}

#define ATTENTION_BACK(D)                                                                                               \
    extern "C" __global__ void __launch_bounds__(BACK_THREADS)                                                          \
        attention_queries_##D(const bf16* own, const bf16* other, const bf16* slopes, const float* log_sums,            \
                              const float* deltas, float* d_own, int t, int s, int heads) {                             \
        back_to_queries<D>(own, other, slopes, log_sums, deltas, d_own, t, s, heads);                                   \
    }                                                                                                                   \
    extern "C" __global__ void __launch_bounds__(BACK_THREADS)                                                          \
        attention_keys_##D(const bf16* own, const bf16* other, const bf16* slopes, const float* log_sums,               \
                           const float* deltas, float* d_own, float* d_other, int t, int s, int heads) {                \
        back_to_keys<D>(own, other, slopes, log_sums, deltas, d_own, d_other, t, s, heads);                             \
    }
ATTENTION_BACK(32)
ATTENTION_BACK(64)
ATTENTION_BACK(96)
ATTENTION_BACK(128)
