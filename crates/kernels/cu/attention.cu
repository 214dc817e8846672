// Attention: softmax(q kᵀ) v over packed queries, keys and values, one pass with a running maximum (online softmax).
//
// own (N, T, 3 H D) bf16: tokens that ask; other (N, S, 3 H D): tokens that are only seen (the condition cache), whose sample
// stride may be 0 for one that serves all. Queries and keys are already normalised and scaled (`qk_norm`). y (N, T, H D) bf16.
// `log_sums` (N, H, T), if any, is told the logarithm of each query's sum of weights, for the backward pass.
//
// A block of four warps takes 64 queries of one head; keys come by 64. Queries and sums stay in registers in the layouts of
// the matrix unit: the weights that one product leaves are what the next one takes, so they never travel.
#include "common.cuh"

constexpr int ATTENTION_THREADS = 128;
constexpr int QUERIES = 64;
constexpr int KEYS = 64;

template <int D>
__device__ __forceinline__ void attention(const bf16* own, const bf16* other, bf16* y, float* log_sums, int t, int s,
                                          int heads, int other_stride) {
    constexpr int STRIDE = D + 8;
    const Shared<bf16> keys(0), values(KEYS * STRIDE * 2);
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int group = lane / 4, pair = lane % 4 * 2;
    const int head = blockIdx.y, sample = blockIdx.z, width = heads * D, all = t + s;
    const bf16* mine = own + size_t(sample) * t * 3 * width + head * D;
    const bf16* seen = other + size_t(sample) * other_stride + head * D;

    // Queries: rows group and group + 8 of this warp's sixteen; rows past the last read the last and are not written.
    uint32_t q[D / 16][4];
    const int query = blockIdx.x * QUERIES + warp * 16 + group;
    for (int half = 0; half < 2; half++) {
        const int row = min(query + 8 * half, t - 1);
        const uint32_t* from = reinterpret_cast<const uint32_t*>(mine + size_t(row) * 3 * width);
        for (int d = 0; d < D / 16; d++) {
            q[d][half] = from[(16 * d + pair) / 2];
            q[d][2 + half] = from[(16 * d + 8 + pair) / 2];
        }
    }

    float found[D / 8][4] = {};
    float largest[2] = {-INFINITY, -INFINITY}, total[2] = {0.0f, 0.0f};
    for (int k0 = 0; k0 < all; k0 += KEYS) {
        __syncthreads();
        for (int i = thread; i < KEYS * D / 8; i += ATTENTION_THREADS) {
            const int key = i / (D / 8), at = i % (D / 8) * 8, token = k0 + key;
            Eight k_eight, v_eight;
            if (token < all) {
                const bf16* from =
                    token < s ? seen + size_t(token) * 3 * width : mine + size_t(token - s) * 3 * width;
                k_eight = load_eight(from + width + at);
                v_eight = load_eight(from + 2 * width + at);
            } else {
                for (int e = 0; e < 8; e++) k_eight.v[e] = v_eight.v[e] = to_bf16(0.0f);
            }
            store_eight(keys, key * STRIDE + at, k_eight);
            store_eight(values, key * STRIDE + at, v_eight);
        }
        __syncthreads();

        float scores[KEYS / 8][4] = {};
        for (int j = 0; j < KEYS / 8; j++)
            for (int d = 0; d < D / 16; d++) {
                const int at = (8 * j + group) * STRIDE + 16 * d + pair;
                const uint32_t b[2] = {get_pair(keys, at), get_pair(keys, at + 8)};
                mma_16x8x16(scores[j], q[d], b);
            }

        for (int half = 0; half < 2; half++) {
            float most = largest[half];
            for (int j = 0; j < KEYS / 8; j++)
                for (int e = 0; e < 2; e++) {
                    float& score = scores[j][2 * half + e];
                    if (k0 + 8 * j + pair + e >= all) score = -INFINITY;
                    most = fmaxf(most, score);
                }
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 1));
            most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, 2));
            // Every step of keys has at least one that exists, so the maximum is finite.
            const float keep = __expf(largest[half] - most);
            float sum = 0.0f;
            for (int j = 0; j < KEYS / 8; j++)
                for (int e = 0; e < 2; e++) {
                    float& score = scores[j][2 * half + e];
                    score = __expf(score - most);
                    sum += score;
                }
            sum += __shfl_xor_sync(0xffffffffu, sum, 1);
            sum += __shfl_xor_sync(0xffffffffu, sum, 2);
            total[half] = total[half] * keep + sum;
            largest[half] = most;
            for (int d = 0; d < D / 8; d++) {
                found[d][2 * half] *= keep;
                found[d][2 * half + 1] *= keep;
            }
        }

        for (int j = 0; j < KEYS / 16; j++) {
            const uint32_t weights[4] = {pair_of(scores[2 * j][0], scores[2 * j][1]),
                                         pair_of(scores[2 * j][2], scores[2 * j][3]),
                                         pair_of(scores[2 * j + 1][0], scores[2 * j + 1][1]),
                                         pair_of(scores[2 * j + 1][2], scores[2 * j + 1][3])};
            for (int d = 0; d < D / 8; d++) {
                uint32_t b[2];
                for (int upper = 0; upper < 2; upper++) {
                    const int at = (16 * j + 8 * upper + pair) * STRIDE + 8 * d + group;
                    b[upper] = pair_of(to_float(values.get(at)), to_float(values.get(at + STRIDE)));
                }
                mma_16x8x16(found[d], weights, b);
            }
        }
    }

    for (int half = 0; half < 2; half++) {
        const int row = query + 8 * half;
        if (row >= t) continue;
        if (log_sums && lane % 4 == 0) {
            log_sums[(size_t(sample) * heads + head) * t + row] = largest[half] + logf(total[half]);
        }
        const float scale = 1.0f / total[half];
        bf16* to = y + (size_t(sample) * t + row) * width + head * D;
        for (int d = 0; d < D / 8; d++) {
            to[8 * d + pair] = to_bf16(found[d][2 * half] * scale);
            to[8 * d + pair + 1] = to_bf16(found[d][2 * half + 1] * scale);
        }
    }
}

#define ATTENTION(D)                                                                                                    \
    extern "C" __global__ void __launch_bounds__(ATTENTION_THREADS)                                                     \
        attention_##D(const bf16* own, const bf16* other, bf16* y, float* log_sums, int t, int s, int heads,            \
                      int other_stride) {                                                                               \
        attention<D>(own, other, y, log_sums, t, s, heads, other_stride);                                               \
    }
ATTENTION(32)
ATTENTION(64)
ATTENTION(96)
ATTENTION(128)

// Layer norm (no affine part) of the queries and keys of each head, in place; queries by 1 / √D besides. One warp a head's row.
// tokens (rows, 3 H D); `rates` (rows, 2 H), if any, is told 1 / sd. grid (rows, ceil(2 H / warps)).
extern "C" __global__ void qk_norm(bf16* tokens, float* rates, int rows, int heads, int d, float epsilon) {
    const int lane = threadIdx.x % 32, row = blockIdx.x;
    const int part = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows || part >= 2 * heads) return;
    bf16* at = tokens + size_t(row) * 3 * heads * d + size_t(part) * d;
    float sum = 0.0f;
    for (int i = lane; i < d; i += 32) sum += to_float(at[i]);
    const float mean = warp_sum(sum) / d;
    float squares = 0.0f;
    for (int i = lane; i < d; i += 32) {
        const float v = to_float(at[i]) - mean;
        squares += v * v;
    }
    float rate = rsqrtf(warp_sum(squares) / d + epsilon);
    if (rates && lane == 0) rates[size_t(row) * 2 * heads + part] = rate;
    if (part < heads) rate *= rsqrtf(float(d));
    for (int i = lane; i < d; i += 32) at[i] = to_bf16((to_float(at[i]) - mean) * rate);
}
