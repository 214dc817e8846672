// 3x3 convolutions over channels-last pictures with zero padding, as matrix products whose left side is gathered on the way:
// no im2col matrix, no doubled picture, no concatenation with the skip is ever stored.
//
// x (N, h, w, c) and skip (N, H, W, s), bf16, c and s multiples of 8; W (n, 3, 3, c + s) bf16; bias (n) f32; y (N, H, W, n).
// step 0: H = h; 1: H = h / 2, every other pixel; 2: x is doubled first (nearest), H = 2 h;
// 3: as 1, but pixel i sees 2 i, 2 i + 1 and 2 i + 2, as autoencoders of latent diffusion do.
#include "conv.cuh"

// Stores as bf16 or f32; channels past n up to `stride` are zeroed by whoever allocates.
template <class T>
struct StorePixel {
    T* y;
    const float* bias;
    int stride, activation;
    __device__ __forceinline__ void operator()(int row, int column, float sum) const {
        const float v = sum + bias[column];
        y[size_t(row) * stride + column] = from_float<T>(activation == 2 ? silu_of(v) : v);
    }
};

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    conv3x3_bf16(const bf16* x, const bf16* skip, const bf16* weight, const float* bias, bf16* y, int pictures, int h, int w,
                 int c, int out_h, int out_w, int s, int n, int step, int activation) {
    const int rows = pictures * out_h * out_w, k = 9 * (c + s);
    gemm(Gathered{x, skip, rows, h, w, c, out_h, out_w, s, step}, Rows{weight, n, k},
         StorePixel<bf16>{y, bias, n, activation}, rows, n, k);
}

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    conv3x3_f32(const bf16* x, const bf16* skip, const bf16* weight, const float* bias, float* y, int pictures, int h, int w,
                int c, int out_h, int out_w, int s, int n, int step, int activation) {
    const int rows = pictures * out_h * out_w, k = 9 * (c + s);
    gemm(Gathered{x, skip, rows, h, w, c, out_h, out_w, s, step}, Rows{weight, n, k},
         StorePixel<float>{y, bias, n, activation}, rows, n, k);
}
