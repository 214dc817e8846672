// Sums down the columns of a matrix, the shape that gradients of biases, gates and norms have. Each sum has one order.
#pragma once
#include "common.cuh"

constexpr int SUM_COLUMNS = 32;
constexpr int SUM_LANES = 8;
constexpr int SUM_THREADS = SUM_COLUMNS * SUM_LANES;

// COUNT quantities at once, over some rows of each sample: partial (parts, samples, COUNT, n). `value` takes a row, its sample,
// a column and where to put the quantities. grid (blocks of columns, parts, samples); shared COUNT SUM_THREADS floats.
template <int COUNT, class Value>
__device__ __forceinline__ void column_sums(const Value& value, float* partial, int rows_of_sample, int n) {
    const Shared<float> shared(0);
    const int within = threadIdx.x % SUM_COLUMNS, lane = threadIdx.x / SUM_COLUMNS;
    const int column = blockIdx.x * SUM_COLUMNS + within;
    const int part = blockIdx.y, parts = gridDim.y, sample = blockIdx.z, samples = gridDim.z;
    float sums[COUNT] = {};
    if (column < n) {
        for (int row = part * SUM_LANES + lane; row < rows_of_sample; row += parts * SUM_LANES) {
            float v[COUNT];
            value(sample * rows_of_sample + row, sample, column, v);
#pragma unroll
            for (int i = 0; i < COUNT; i++) sums[i] += v[i];
        }
    }
#pragma unroll
    for (int i = 0; i < COUNT; i++) shared.set((i * SUM_LANES + lane) * SUM_COLUMNS + within, sums[i]);
    __syncthreads();
    if (lane >= COUNT || column >= n) return;
    float total = 0.0f;
    for (int l = 0; l < SUM_LANES; l++) total += shared.get((lane * SUM_LANES + l) * SUM_COLUMNS + within);
    partial[((size_t(part) * samples + sample) * COUNT + lane) * n + column] = total;
}
