// The backward pass of linear layers: y = x Wᵀ + b, x (m, k), W (n, k), slopes dy (m, n), all bf16; what comes out is f32.
#include "gemm_back.cuh"

// dx (m, k) = dy W, or added to dx; n a multiple of 8.
extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    linear_back_input(const bf16* slopes, const bf16* w, float* dx, int m, int n, int k, int add) {
    gemm(Rows{slopes, m, n}, Columns{w, k, 0, n}, AddTo{dx, k, add}, m, k, n);
}

// dW (n, k) = dyᵀ x over some rows: y (parts, n, k), or added to what is there. grid (columns, rows, parts).
extern "C" __global__ void __launch_bounds__(GEMM_THREADS, GEMM_BLOCKS)
    linear_back_weight(const bf16* slopes, const bf16* x, float* y, int m, int n, int k, int add) {
    const Part part(m);
    const AddTo end{y + size_t(blockIdx.z) * n * k, k, add};
    gemm(Columns{slopes, n, part.first, part.last}, Columns{x, k, part.first, part.last}, end, n, k, part.last - part.first);
}
