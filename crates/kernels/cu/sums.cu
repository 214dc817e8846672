// Sums that gradients and their norm are made of.
#include "columns.cuh"
#include "block_sum.cuh"

struct OfSlopes {
    const bf16* slopes;
    int stride;
    __device__ __forceinline__ void operator()(int row, int, int column, float (&v)[1]) const {
        v[0] = to_float(slopes[size_t(row) * stride + column]);
    }
};

// Of the first n of slopes (rows, stride) bf16: what a bias is told.
extern "C" __global__ void __launch_bounds__(SUM_THREADS)
    bias_sums(const bf16* slopes, float* partial, int rows_of_sample, int n, int stride) {
    column_sums<1>(OfSlopes{slopes, stride}, partial, rows_of_sample, n);
}

// into[s stride + c] += Σ over parts of partial (parts, samples, width), of whose rows the first n count.
extern "C" __global__ void sum_parts(const float* partial, float* into, int parts, int samples, int n, int width, int stride) {
    EACH(i, size_t(samples) * n) {
        const size_t sample = i / n, column = i % n, all = size_t(samples) * width;
        float total = 0.0f;
        for (int part = 0; part < parts; part++) total += partial[part * all + sample * width + column];
        into[sample * stride + column] += total;
    }
}

// Σ x² over blocks of numbers, one sum a block.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS) squares(const float* x, float* sums, int count) {
    float sum = 0.0f;
    EACH(i, count) sum += x[i] * x[i];
    block_sum(sum, sums);
}
