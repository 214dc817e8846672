// Linear layers: y = act(x Wᵀ scale + bias), stored as bf16, or as f32 upon a residual: y = residual + gate · (x Wᵀ scale + bias).
//
// x (m, k) bf16; W (n, k) bf16, or u8 with 128 as zero and a scale for each of its n rows; bias (n) f32; k a multiple of 8.
#include "gemm.cuh"

// 0 nothing, 1 gelu, 2 silu.
__device__ __forceinline__ float activated(int activation, float v) {
    return activation == 1 ? gelu_of(v) : activation == 2 ? silu_of(v) : v;
}

struct StoreActivated {
    bf16* y;
    const float* scale;
    const float* bias;
    int n, activation;
    __device__ __forceinline__ void operator()(int row, int column, float sum) const {
        const float v = (scale ? sum * scale[column] : sum) + bias[column];
        y[size_t(row) * n + column] = to_bf16(activated(activation, v));
    }
};

// `residual` repeats after `period` rows. After each `run` rows of the result, `gap` are left out: they belong to another stream of
// the same sample. The gate is `gate` (n), plus `gate_time` (row / rows_of_sample) strides on; none: 1.
struct AddGated {
    float* y;
    const float* residual;
    const float* scale;
    const float* bias;
    const float* gate;
    const float* gate_time;
    int n, period, rows_of_sample, time_stride, run, gap;
    __device__ __forceinline__ void operator()(int row, int column, float sum) const {
        const float v = (scale ? sum * scale[column] : sum) + bias[column];
        float g = gate ? gate[column] : 1.0f;
        if (gate_time) g += gate_time[size_t(row / rows_of_sample) * time_stride + column];
        const float before = residual ? residual[size_t(row % period) * n + column] : 0.0f;
        y[(size_t(row) + size_t(row / run) * gap) * n + column] = before + g * v;
    }
};

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    linear_bf16(const bf16* x, const bf16* w, const float* bias, bf16* y, int m, int n, int k, int activation) {
    gemm(Rows{x, m, k}, Rows{w, n, k}, StoreActivated{y, nullptr, bias, n, activation}, m, n, k);
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    linear_int8(const bf16* x, const uint8_t* w, const float* scale, const float* bias, bf16* y, int m, int n, int k,
                int activation) {
    gemm(Rows{x, m, k}, WholeRows{w, n, k}, StoreActivated{y, scale, bias, n, activation}, m, n, k);
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    linear_gated_bf16(const bf16* x, const bf16* w, const float* bias, const float* residual, const float* gate,
                      const float* gate_time, float* y, int m, int n, int k, int period, int rows_of_sample,
                      int time_stride, int run, int gap) {
    const AddGated end{y, residual, nullptr, bias, gate, gate_time, n, period, rows_of_sample, time_stride, run, gap};
    gemm(Rows{x, m, k}, Rows{w, n, k}, end, m, n, k);
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    linear_gated_int8(const bf16* x, const uint8_t* w, const float* scale, const float* bias, const float* residual,
                      const float* gate, const float* gate_time, float* y, int m, int n, int k, int period,
                      int rows_of_sample, int time_stride, int run, int gap) {
    const AddGated end{y, residual, scale, bias, gate, gate_time, n, period, rows_of_sample, time_stride, run, gap};
    gemm(Rows{x, m, k}, WholeRows{w, n, k}, end, m, n, k);
}
