// The backward pass of norms. A normalised row n = (x - mean) rate with slopes g gives x the slopes rate (g - mean g - n mean(g n)).
#include "columns.cuh"
#include "moments.cuh"

// Adds to dx (rows, d) what the slopes of `norm_modulate`'s result say, and notes mean and rate of each row: moments (rows, 2).
// One warp a row; arguments as there.
extern "C" __global__ void norm_modulate_back(const float* x, const float* base, const float* time, const float* slopes,
                                              float* dx, float* moments, int rows, int d, int rows_of_sample,
                                              int time_stride, int beside, float epsilon) {
    const int row = row_of_warp();
    if (row >= rows) return;
    const Row of(x, row, d, epsilon);
    const float* at = time ? time + size_t(row / rows_of_sample) * time_stride : nullptr;
    const float* slope = slopes + place_of(row, beside) * d;
    const auto slope_of_normal = [&](int i) { return slope[i] * (1.0f + base[d + i] + (at ? at[d + i] : 0.0f)); };
    float total = 0.0f, along = 0.0f;
    for (int i = of.lane; i < d; i += 32) {
        const float g = slope_of_normal(i);
        total += g;
        along += g * of.normal(i);
    }
    total = warp_sum(total) / d;
    along = warp_sum(along) / d;
    float* to = dx + size_t(row) * d;
    for (int i = of.lane; i < d; i += 32) to[i] += of.rate * (slope_of_normal(i) - total - of.normal(i) * along);
    if (of.lane == 0) {
        moments[2 * size_t(row)] = of.mean;
        moments[2 * size_t(row) + 1] = of.rate;
    }
}

struct OfModulation {
    const float* x;
    const float* slopes;
    const float* moments;
    int d, beside;
    __device__ __forceinline__ void operator()(int row, int, int column, float (&v)[2]) const {
        const float slope = slopes[place_of(row, beside) * d + column];
        v[0] = slope;
        v[1] = slope * (x[size_t(row) * d + column] - moments[2 * size_t(row)]) * moments[2 * size_t(row) + 1];
    }
};

// Slopes of shift and scale, sample by sample: partial (parts, samples, 2, d).
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    modulation_sums(const float* x, const float* slopes, const float* moments, float* partial, int rows_of_sample, int d,
                    int beside) {
    column_sums<2>(OfModulation{x, slopes, moments, d, beside}, partial, rows_of_sample, d);
}

// Slopes of `qk_norm`'s result, (rows, 3 H D) f32, to those of its input, bf16; `tokens` and `rates` are what it left. Values are
// passed on. One warp a head's row. grid (rows, ceil(3 H / warps)).
extern "C" __global__ void qk_norm_back(const bf16* tokens, const float* rates, const float* slopes, bf16* out, int rows,
                                        int heads, int d) {
    const int lane = threadIdx.x % 32, row = blockIdx.x;
    const int part = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows || part >= 3 * heads) return;
    const size_t at = size_t(row) * 3 * heads * d + size_t(part) * d;
    if (part >= 2 * heads) {
        for (int i = lane; i < d; i += 32) out[at + i] = to_bf16(slopes[at + i]);
        return;
    }
    // Queries were divided by √D after the norm.
    const float root = part < heads ? sqrtf(float(d)) : 1.0f;
    float total = 0.0f, along = 0.0f;
    for (int i = lane; i < d; i += 32) {
        total += slopes[at + i] / root;
        along += slopes[at + i] * to_float(tokens[at + i]);
    }
    total = warp_sum(total) / d;
    along = warp_sum(along) / d;
    const float rate = rates[size_t(row) * 2 * heads + part];
    for (int i = lane; i < d; i += 32) {
        out[at + i] = to_bf16(rate * (slopes[at + i] / root - total - to_float(tokens[at + i]) * root * along));
    }
}

// What a group norm's affine part got and was told: the normalised number, and its slope before the activation.
struct BeforeActivation {
    float normal, slope;
    __device__ __forceinline__ BeforeActivation(float x, const Moments& of, float weight, float bias, float dy, int activation) {
        normal = (x - of.mean) * of.rate;
        slope = activation == 2 ? dy * silu_slope(normal * weight + bias) : dy;
    }
};

// Slopes of bias and weight, sample by sample: partial (parts, N, 2, c). x (N, pixels, c) bf16 is what was normalised.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    group_sums(const bf16* x, const float* moments, const float* weight, const float* bias, const float* slopes, float* partial,
               int pixels, int c, int groups, int moment_parts, float epsilon, int activation) {
    const int column = min(int(blockIdx.x) * SUM_COLUMNS + int(threadIdx.x) % SUM_COLUMNS, c - 1);
    const int size = c / groups;
    const Moments of(moments + 2 * (size_t(blockIdx.z) * groups + column / size) * moment_parts, pixels, size, moment_parts,
                     epsilon);
    const auto value = [&](int row, int, int at, float(&v)[2]) {
        const size_t i = size_t(row) * c + at;
        const BeforeActivation before(to_float(x[i]), of, weight[at], bias[at], slopes[i], activation);
        v[0] = before.slope;
        v[1] = before.slope * before.normal;
    };
    column_sums<2>(value, partial, pixels, c);
}

// Slopes of what was normalised, bf16, from those of the result and the sums over all pixels, (N, 2, c). grid (blocks, groups, N).
extern "C" __global__ void group_norm_back(const bf16* x, const float* moments, const float* weight, const float* bias,
                                           const float* slopes, const float* sums, bf16* dx, int pixels, int c, int groups,
                                           int parts, float epsilon, int activation) {
    const int group = blockIdx.y, sample = blockIdx.z, size = c / groups;
    const Moments of(moments + 2 * (size_t(sample) * groups + group) * parts, pixels, size, parts, epsilon);
    float total = 0.0f, along = 0.0f;
    for (int channel = group * size; channel < (group + 1) * size; channel++) {
        total += weight[channel] * sums[size_t(sample) * 2 * c + channel];
        along += weight[channel] * sums[size_t(sample) * 2 * c + c + channel];
    }
    const size_t all = size_t(pixels) * size;
    total /= float(all);
    along /= float(all);
    const size_t first = size_t(sample) * pixels * c + group * size;
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < all; i += size_t(gridDim.x) * blockDim.x) {
        const int channel = group * size + int(i % size);
        const size_t at = first + i / size * c + i % size;
        const BeforeActivation before(to_float(x[at]), of, weight[channel], bias[channel], slopes[at], activation);
        dx[at] = to_bf16(of.rate * (before.slope * weight[channel] - total - before.normal * along));
    }
}
