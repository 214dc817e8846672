// The backward pass of 3x3 convolutions: slopes dy (N, H, W, n) bf16, n a multiple of 8; sizes otherwise as in conv.cu.
#include "conv.cuh"
#include "gemm_back.cuh"

// What a pixel of the input had a part in: slopes by tap and output. Where the input was doubled, its pixel had a part in four
// places, whose slopes are summed first.
struct Spread {
    const bf16* slopes;
    int rows, h, w, out_h, out_w, n, step;
    __device__ __forceinline__ Eight eight(int row, int at) const {
        if (row >= rows || at >= 9 * n) return zeros();
        const int tap = at / n, column = row % w, line = row / w % h, picture = row / (w * h);
        const int before = step == 3 ? 0 : 1, back_y = before - tap / 3, back_x = before - tap % 3;
        if (step != 2) {
            const int y = line + back_y, x = column + back_x, stride = step == 0 ? 1 : 2;
            const bool there = y >= 0 && x >= 0 && y % stride == 0 && x % stride == 0;
            return there ? slope(picture, y / stride, x / stride, at % n) : zeros();
        }
        float sums[8] = {};
        for (int corner = 0; corner < 4; corner++) {
            const int y = 2 * line + corner / 2 + back_y, x = 2 * column + corner % 2 + back_x;
            if (y < 0 || x < 0) continue;
            const Eight e = slope(picture, y, x, at % n);
#pragma unroll
            for (int i = 0; i < 8; i++) sums[i] += to_float(e.v[i]);
        }
        Eight e;
#pragma unroll
        for (int i = 0; i < 8; i++) e.v[i] = to_bf16(sums[i]);
        return e;
    }
    __device__ __forceinline__ Eight slope(int picture, int y, int x, int output) const {
        if (y >= out_h || x >= out_w) return zeros();
        return load_eight(slopes + ((size_t(picture) * out_h + y) * out_w + x) * n + output);
    }
};

// W (n, 3, 3, channels), by channel: `rows` of them from `first` on.
struct KernelColumns {
    const bf16* weight;
    int rows, first, channels, n;
    __device__ __forceinline__ Eight eight(int row, int at) const {
        if (row >= rows || at >= 9 * n) return zeros();
        const int tap = at / n, output = at % n;
        Eight e;
#pragma unroll
        for (int i = 0; i < 8; i++) e.v[i] = weight[(size_t(output + i) * 9 + tap) * channels + first + row];
        return e;
    }
};

// Slopes of x, or with step 0 and its first channel those of the skip: dx (N, h, w, c) f32, or added to it.
extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    conv3x3_back_input(const bf16* slopes, const bf16* weight, float* dx, int pictures, int h, int w, int c, int out_h,
                       int out_w, int n, int first, int channels, int step, int add) {
    const int rows = pictures * h * w;
    gemm(Spread{slopes, rows, h, w, out_h, out_w, n, step}, KernelColumns{weight, c, first, channels, n}, AddTo{dx, c, add},
         rows, c, 9 * n);
}

// What a tap and channel saw, pixel by pixel of the result.
struct GatheredColumns {
    Gathered gathered;
    int first, last;
    __device__ __forceinline__ Eight eight(int row, int at) const {
        const int channels = gathered.c + gathered.s;
        if (row >= 9 * channels) return zeros();
        Eight e;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int pixel = first + at + i;
            const bf16* from = pixel < last ? gathered.place(pixel, row / channels, row % channels) : nullptr;
            e.v[i] = from ? *from : to_bf16(0.0f);
        }
        return e;
    }
};

// As training keeps kernels: (3, 3, channels, n), without the channels that only fill up to a multiple of 8.
struct StoreKernel {
    float* y;
    int c, s, real_c, real_s, n, add;
    __device__ __forceinline__ void operator()(int row, int column, float sum) const {
        const int tap = row / (c + s), channel = row % (c + s);
        if (channel < c ? channel >= real_c : channel - c >= real_s) return;
        const int real = channel < c ? channel : real_c + channel - c;
        float& to = y[(size_t(tap) * (real_c + real_s) + real) * n + column];
        to = add ? to + sum : sum;
    }
};

// dW (3, 3, real channels, real_n) over some pixels: y (parts, ..), or added to what is there. grid (columns, rows, parts).
extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    conv3x3_back_weight(const bf16* x, const bf16* skip, const bf16* slopes, float* y, int pictures, int h, int w, int c,
                        int out_h, int out_w, int s, int n, int step, int real_c, int real_s, int real_n,
                        int add) {
    const int rows = pictures * out_h * out_w;
    const Part part(rows);
    const Gathered gathered{x, skip, rows, h, w, c, out_h, out_w, s, step};
    const StoreKernel end{y + size_t(blockIdx.z) * 9 * (real_c + real_s) * real_n, c, s, real_c, real_s, real_n, add};
    gemm(GatheredColumns{gathered, part.first, part.last}, Columns{slopes, n, part.first, part.last}, end, 9 * (c + s),
         real_n, part.last - part.first);
}
