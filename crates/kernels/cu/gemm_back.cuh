// What the backward pass reads and writes around the matrix product: matrices by their columns, and sums added to what is there.
//
// Columns are gathered number by number, two bytes each: more loads than a forward product has, but neither a transposed copy of any
// matrix nor an im2col matrix is ever stored.
#pragma once
#include "gemm.cuh"

// The transpose of (k, rows) bf16, from its row `first` on, up to `last`.
struct Columns {
    const bf16* values;
    int rows, first, last;
    __device__ __forceinline__ Eight eight(int row, int at) const {
        if (row >= rows) return zeros();
        Eight e;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int k = first + at + i;
            e.v[i] = k < last ? values[size_t(k) * rows + row] : to_bf16(0.0f);
        }
        return e;
    }
};

// y (m, n) f32, added to what is there where `add` is not 0.
struct AddTo {
    float* y;
    int n, add;
    __device__ __forceinline__ void operator()(int row, int column, float sum) const {
        float& to = y[size_t(row) * n + column];
        to = add ? to + sum : sum;
    }
};

// The rows of a product that part `blockIdx.z` of `gridDim.z` sums up.
struct Part {
    int first, last;
    __device__ __forceinline__ explicit Part(int rows) {
        const int each = (rows + gridDim.z - 1) / gridDim.z;
        first = min(int(blockIdx.z) * each, rows);
        last = min(first + each, rows);
    }
};
