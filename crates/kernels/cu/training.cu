// What training needs between products, and the optimiser: one thread a number.
#include "columns.cuh"

__device__ __forceinline__ float activated_by(int activation, float v) {
    return activation == 1 ? gelu_of(v) : activation == 2 ? silu_of(v) : v;
}

// y = act(x), bf16.
extern "C" __global__ void activate(const bf16* x, bf16* y, int count, int activation) {
    EACH(i, count) y[i] = to_bf16(activated_by(activation, to_float(x[i])));
}

// Slopes of y to those of x, bf16.
extern "C" __global__ void activate_back(const bf16* x, const float* slopes, bf16* dx, int count, int activation) {
    EACH(i, count) {
        const float v = to_float(x[i]);
        dx[i] = to_bf16(slopes[i] * (activation == 1 ? gelu_slope(v) : activation == 2 ? silu_slope(v) : 1.0f));
    }
}

// A branch's gate: `gate` (n), plus `time` at its sample's place.
struct Gated {
    const float* gate;
    const float* time;
    int n, rows_of_sample, time_stride;
    __device__ __forceinline__ float at(size_t row, int column) const {
        return gate[column] + (time ? time[row / rows_of_sample * time_stride + column] : 0.0f);
    }
};

// y = x + gate u: x, y (rows, n) f32, u bf16.
extern "C" __global__ void gated_add(const float* x, const bf16* u, const float* gate, const float* time, float* y, int rows,
                                     int n, int rows_of_sample, int time_stride) {
    const Gated gated{gate, time, n, rows_of_sample, time_stride};
    EACH(i, size_t(rows) * n) y[i] = x[i] + gated.at(i / n, int(i % n)) * to_float(u[i]);
}

// Slopes of y to those of u, bf16.
extern "C" __global__ void gated_add_back(const float* slopes, const float* gate, const float* time, bf16* du, int rows, int n,
                                          int rows_of_sample, int time_stride) {
    const Gated gated{gate, time, n, rows_of_sample, time_stride};
    EACH(i, size_t(rows) * n) du[i] = to_bf16(gated.at(i / n, int(i % n)) * slopes[i]);
}

struct OfGate {
    const float* slopes;
    const bf16* u;
    int n;
    __device__ __forceinline__ void operator()(int row, int, int column, float (&v)[1]) const {
        const size_t at = size_t(row) * n + column;
        v[0] = slopes[at] * to_float(u[at]);
    }
};

// Slopes of the gate, sample by sample: partial (parts, samples, n).
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    gate_sums(const float* slopes, const bf16* u, float* partial, int rows_of_sample, int n) {
    column_sums<1>(OfGate{slopes, u, n}, partial, rows_of_sample, n);
}

// Rows of x (.., n) f32 in bf16: `run` together, `gap` left out after each; to y, where a row is `stride` from the next.
extern "C" __global__ void narrow_rows(const float* x, bf16* y, int rows, int n, int run, int gap, int stride) {
    EACH(i, size_t(rows) * n) {
        const size_t row = i / n;
        y[row * stride + i % n] = to_bf16(x[(row + row / run * gap) * n + i % n]);
    }
}

// Place and type of tokens: y (rows, n) = places times `times` plus one or two of the types.
extern "C" __global__ void mark(const float* places, const float* first, const float* second, float* y, int rows, int n) {
    EACH(i, size_t(rows) * n) {
        const float place = places[i];
        float v = place + first[i % n];
        if (second) v += place + second[i % n];
        y[i] = v;
    }
}

// Slopes of two layers in planes, (N, a, pixels) and (N, b, pixels) f32, to channels last, (N, pixels, stride) bf16; zeros behind.
extern "C" __global__ void planes_back(const float* first, const float* second, bf16* y, int pictures, int pixels, int a, int b,
                                       int stride) {
    EACH(i, size_t(pictures) * pixels * stride) {
        const size_t pixel = i / stride % pixels, picture = i / stride / pixels;
        const int channel = int(i % stride);
        float v = 0.0f;
        if (channel < a) v = first[(picture * a + channel) * pixels + pixel];
        else if (channel < a + b) v = second[(picture * b + channel - a) * pixels + pixel];
        y[i] = to_bf16(v);
    }
}

// A kernel as training keeps it, (3, 3, c + s, n) f32, as products take it: (padded n, 3, 3, padded c + padded s) bf16; what only
// fills up is zero.
extern "C" __global__ void kernel_rows(const float* from, bf16* to, int c, int s, int n, int padded_c, int padded_s,
                                       int padded_n) {
    const int channels = padded_c + padded_s;
    EACH(i, size_t(padded_n) * 9 * channels) {
        const int channel = int(i % channels), tap = int(i / channels % 9), output = int(i / channels / 9);
        const bool of_skip = channel >= padded_c;
        const int real = of_skip ? c + channel - padded_c : channel;
        const bool there = output < n && (of_skip ? channel - padded_c < s : channel < c);
        to[i] = to_bf16(there ? from[(size_t(tap) * (c + s) + real) * n + output] : 0.0f);
    }
}

extern "C" __global__ void fill(float* x, int count, float value) {
    EACH(i, count) x[i] = value;
}

// AdamW with an exponential moving average, as crates/train/src/optimizer.rs has it, number by number; gradients are used up.
extern "C" __global__ void adamw(float* value, float* first, float* second, float* average, float* gradient, int count,
                                 float scale, float learning_rate, float decay, float beta1, float beta2, float correct1,
                                 float correct2, float keep) {
    EACH(i, count) {
        const float g = gradient[i] * scale;
        gradient[i] = 0.0f;
        const float m = beta1 * first[i] + (1.0f - beta1) * g;
        const float v = beta2 * second[i] + (1.0f - beta2) * g * g;
        first[i] = m;
        second[i] = v;
        const float step = (m / correct1) / (sqrtf(v / correct2) + 1e-8f);
        const float x = value[i] - (learning_rate * step + decay * value[i]);
        value[i] = x;
        average[i] += (1.0f - keep) * (x - average[i]);
    }
}
