// Norms: layer norm with modulation over tokens, group norm with SiLU over channels-last pictures.
#include "moments.cuh"

// (x - mean) / sd (1 + scale) + shift over rows of x (rows, d) f32, to bf16. `base` (2, d): shift, scale; `time`, if any, is added:
// shift at `time`, scale d further on, `time_stride` from one sample to the next. One warp a row.
// `place_of` says what `beside` means.
extern "C" __global__ void norm_modulate(const float* x, const float* base, const float* time, bf16* y, int rows, int d,
                                         int rows_of_sample, int time_stride, int beside, float epsilon) {
    const int row = row_of_warp();
    if (row >= rows) return;
    const Row of(x, row, d, epsilon);
    const float* at = time ? time + size_t(row / rows_of_sample) * time_stride : nullptr;
    bf16* to = y + place_of(row, beside) * d;
    for (int i = of.lane; i < d; i += 32) {
        const float shift = base[i] + (at ? at[i] : 0.0f), scale = base[d + i] + (at ? at[d + i] : 0.0f);
        to[i] = to_bf16(of.normal(i) * (1.0f + scale) + shift);
    }
}

// Rows of each of `segments` segments of x (segments, rows, n) less their mean row, in place. A thread sums a column in order, so that
// the bits do not depend on anything else.
extern "C" __global__ void less_means(float* x, int segments, int rows, int n) {
    EACH(i, size_t(segments) * n) {
        float* at = x + i / n * rows * n + i % n;
        float sum = 0.0f;
        for (int row = 0; row < rows; row++) sum += at[size_t(row) * n];
        const float mean = sum / float(rows);
        for (int row = 0; row < rows; row++) at[size_t(row) * n] -= mean;
    }
}

constexpr int MOMENT_THREADS = 128;

// Mean and sum of squared differences of x (N, pixels, c) bf16 over part of a group's pixels: moments (N, groups, parts, 2).
// grid (parts, groups, N). Pixels of part p are p, p + parts, ...
extern "C" __global__ void __launch_bounds__(MOMENT_THREADS)
    group_moments(const bf16* x, float* moments, int pixels, int c, int groups) {
    const Shared<float> warps(0);
    const int part = blockIdx.x, parts = gridDim.x, group = blockIdx.y, sample = blockIdx.z;
    const int size = c / groups, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int mine = (pixels - part + parts - 1) / parts;
    const bf16* from = x + size_t(sample) * pixels * c + group * size;
    const auto value = [&](int i) {
        return to_float(from[size_t(part + i / size * parts) * c + i % size]);
    };
    float mean = 0.0f, squares = 0.0f;
    for (int pass = 0; pass < 2; pass++) {
        float sum = 0.0f;
        for (int i = threadIdx.x; i < mine * size; i += MOMENT_THREADS) {
            const float v = value(i) - mean;
            sum += pass == 0 ? v : v * v;
        }
        sum = warp_sum(sum);
        __syncthreads();
        if (lane == 0) warps.set(warp, sum);
        __syncthreads();
        float total = 0.0f;
        for (int w = 0; w < MOMENT_THREADS / 32; w++) total += warps.get(w);
        if (pass == 0) mean = mine > 0 ? total / float(mine * size) : 0.0f;
        else squares = total;
    }
    if (threadIdx.x == 0) {
        float* to = moments + 2 * ((size_t(sample) * groups + group) * parts + part);
        to[0] = mean;
        to[1] = squares;
    }
}

// silu(norm(x) weight + bias) to y, which may be x, from the moments of `parts` parts. grid (blocks, groups, N).
extern "C" __global__ void group_norm_silu(const bf16* x, bf16* y, const float* moments, const float* weight, const float* bias,
                                           int pixels, int c, int groups, int parts, float epsilon, int activation) {
    const int group = blockIdx.y, sample = blockIdx.z, size = c / groups;
    const Moments of(moments + 2 * (size_t(sample) * groups + group) * parts, pixels, size, parts, epsilon);
    const size_t first = size_t(sample) * pixels * c + group * size, all = size_t(pixels) * size;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += size_t(gridDim.x) * blockDim.x) {
        const int channel = group * size + int(i % size);
        const size_t at = first + i / size * c + i % size;
        const float v = (to_float(x[at]) - of.mean) * of.rate * weight[channel] + bias[channel];
        y[at] = to_bf16(activation == 2 ? silu_of(v) : v);
    }
}
