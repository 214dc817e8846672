// Pictures to tokens and back, and the samplers' updates: one thread a number.
#include "common.cuh"

// (N, c, h, w) f32 to (N, h/p w/p, c p p) bf16, times `scale` plus `offset`.
extern "C" __global__ void patchify(const float* x, bf16* tokens, int pictures, int c, int h, int w, int p, float scale,
                                    float offset) {
    const int columns = w / p, rows = h / p, area = p * p;
    EACH(i, size_t(pictures) * c * h * w) {
        const int inner = int(i % area), channel = int(i / area % c);
        const size_t token = i / (size_t(area) * c);
        const int column = int(token % columns), row = int(token / columns % rows);
        const size_t picture = token / (size_t(columns) * rows);
        const size_t from = ((picture * c + channel) * h + row * p + inner / p) * w + column * p + inner % p;
        tokens[i] = to_bf16(x[from] * scale + offset);
    }
}

// The inverse of `patchify`, f32 tokens to f32 pictures.
extern "C" __global__ void unpatchify(const float* tokens, float* x, int pictures, int c, int h, int w, int p, float scale,
                                      float offset) {
    const int columns = w / p, rows = h / p, area = p * p;
    EACH(i, size_t(pictures) * c * h * w) {
        const int inner = int(i % area), channel = int(i / area % c);
        const size_t token = i / (size_t(area) * c);
        const int column = int(token % columns), row = int(token / columns % rows);
        const size_t picture = token / (size_t(columns) * rows);
        const size_t to = ((picture * c + channel) * h + row * p + inner / p) * w + column * p + inner % p;
        x[to] = tokens[i] * scale + offset;
    }
}

// (N, pixels, stride) channels last to (N, c, pixels) planes from channel `first` on, with `base` planes added.
extern "C" __global__ void planes(const float* x, const float* base, float* y, int pictures, int pixels, int stride,
                                  int first, int c) {
    EACH(i, size_t(pictures) * c * pixels) {
        const size_t pixel = i % pixels, channel = i / pixels % c, picture = i / (size_t(pixels) * c);
        y[i] = (base ? base[i] : 0.0f) + x[(picture * pixels + pixel) * stride + first + channel];
    }
}

// What a refiner sees, (N, H, W, stride) bf16: plate and mask, (N, 3, H, W) and (N, 1, H, W); what the network said at a `scale`th of
// that, (N, 3, h, w) and (N, 4, h, w) premultiplied, bilinear with pixel areas aligned and edges repeated; and what those leave of
// the plate, C - F - (1 - a) B. Channels behind are zero. `alpha` (N, H, W) f32 is the up-sampled one. One thread a pixel.
extern "C" __global__ void refiner_inputs(const float* plate, const float* mask, const float* background, const float* foreground,
                                          bf16* inputs, float* alpha, int pictures, int h, int w, int scale, int stride) {
    const int rows = h * scale, columns = w * scale;
    EACH(i, size_t(pictures) * rows * columns) {
        const size_t pixel = i % (size_t(rows) * columns), picture = i / (size_t(rows) * columns);
        const float down = fmaxf((float(pixel / columns) + 0.5f) / float(scale) - 0.5f, 0.0f);
        const float right = fmaxf((float(pixel % columns) + 0.5f) / float(scale) - 0.5f, 0.0f);
        const int top = min(int(down), h - 1), left = min(int(right), w - 1);
        const int below = min(top + 1, h - 1), beside = min(left + 1, w - 1);
        const float y = down - float(top), x = right - float(left);
        float said[7];
        for (int c = 0; c < 7; c++) {
            const float* from = c < 3 ? background + (picture * 3 + c) * h * w : foreground + (picture * 4 + c - 3) * h * w;
            const float near = from[top * w + left] * (1.0f - x) + from[top * w + beside] * x;
            const float far = from[below * w + left] * (1.0f - x) + from[below * w + beside] * x;
            said[c] = near * (1.0f - y) + far * y;
        }
        bf16* to = inputs + i * stride;
        for (int c = 0; c < 3; c++) {
            const float light = plate[(picture * 3 + c) * rows * columns + pixel];
            to[c] = to_bf16(light);
            to[11 + c] = to_bf16(light - said[3 + c] - (1.0f - said[6]) * said[c]);
        }
        to[3] = to_bf16(mask[i]);
        for (int c = 0; c < 7; c++) to[4 + c] = to_bf16(said[c]);
        for (int c = 14; c < stride; c++) to[c] = to_bf16(0.0f);
        alpha[i] = said[6];
    }
}

// y = a x0 + b x1 + c x2 + d x3, from left to right, each product rounded; null inputs are left out. Every update of DDIM,
// DPM-Solver++ 2M and UniPC is such a sum, whose factors the CPU's tables give: both devices walk the same path.
extern "C" __global__ void combine(const float* x0, const float* x1, const float* x2, const float* x3, float* y, int count,
                                   float a, float b, float c, float d) {
    EACH(i, count) {
        float v = __fmul_rn(a, x0[i]);
        if (x1) v = __fadd_rn(v, __fmul_rn(b, x1[i]));
        if (x2) v = __fadd_rn(v, __fmul_rn(c, x2[i]));
        if (x3) v = __fadd_rn(v, __fmul_rn(d, x3[i]));
        y[i] = v;
    }
}

// Two pictures added, bf16.
extern "C" __global__ void add_pictures(const bf16* a, const bf16* b, bf16* y, int count) {
    EACH(i, count) y[i] = to_bf16(to_float(a[i]) + to_float(b[i]));
}

constexpr int ROW_THREADS = 128;

// The largest, or the sum, of a number from each thread of a block.
template <bool LARGEST>
__device__ __forceinline__ float over_block(const Shared<float>& warps, float v) {
    for (int mask = 16; mask > 0; mask /= 2) {
        const float other = __shfl_xor_sync(0xffffffffu, v, mask);
        v = LARGEST ? fmaxf(v, other) : v + other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) warps.set(threadIdx.x / 32, v);
    __syncthreads();
    float all = warps.get(0);
    for (int w = 1; w < ROW_THREADS / 32; w++) all = LARGEST ? fmaxf(all, warps.get(w)) : all + warps.get(w);
    return all;
}

// softmax(x scale) over the first n numbers of rows of x (rows, stride) f32, to y as large, bf16, zero behind them. One block a row.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    softmax_rows(const float* x, bf16* y, int n, int stride, float scale) {
    const Shared<float> warps(0);
    const float* from = x + size_t(blockIdx.x) * stride;
    bf16* to = y + size_t(blockIdx.x) * stride;
    float most = -INFINITY;
    for (int i = threadIdx.x; i < n; i += ROW_THREADS) most = fmaxf(most, from[i] * scale);
    most = over_block<true>(warps, most);
    float sum = 0.0f;
    for (int i = threadIdx.x; i < n; i += ROW_THREADS) sum += __expf(from[i] * scale - most);
    sum = over_block<false>(warps, sum);
    for (int i = threadIdx.x; i < stride; i += ROW_THREADS) {
        to[i] = to_bf16(i < n ? __expf(from[i] * scale - most) / sum : 0.0f);
    }
}

// Slopes of `softmax_rows`'s x, bf16, from those of its result y, f32; (rows, stride) all. Where y is zero so are they. One block a row.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    softmax_rows_back(const bf16* y, const float* slopes, bf16* dx, int stride, float scale) {
    const Shared<float> warps(0);
    const size_t first = size_t(blockIdx.x) * stride;
    float along = 0.0f;
    for (int i = threadIdx.x; i < stride; i += ROW_THREADS) along += to_float(y[first + i]) * slopes[first + i];
    along = over_block<false>(warps, along);
    for (int i = threadIdx.x; i < stride; i += ROW_THREADS) {
        dx[first + i] = to_bf16(scale * to_float(y[first + i]) * (slopes[first + i] - along));
    }
}
