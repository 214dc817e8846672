// Mean and 1 / sd: of a row of tokens, and of a group of a group norm from the moments of its parts.
#pragma once
#include "common.cuh"

// The row of a kernel that gives each warp one.
__device__ __forceinline__ int row_of_warp() { return blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; }

// A row of x (.., d) f32, normalised by its warp; whole warps come here.
struct Row {
    const float* from;
    int lane;
    float mean, rate;
    __device__ __forceinline__ Row(const float* x, int row, int d, float epsilon)
        : from(x + size_t(row) * d), lane(threadIdx.x % 32) {
        float sum = 0.0f;
        for (int i = lane; i < d; i += 32) sum += from[i];
        mean = warp_sum(sum) / d;
        float squares = 0.0f;
        for (int i = lane; i < d; i += 32) squares += (from[i] - mean) * (from[i] - mean);
        rate = rsqrtf(warp_sum(squares) / d + epsilon);
    }
    __device__ __forceinline__ float normal(int i) const { return (from[i] - mean) * rate; }
};

// Where `norm_modulate` puts a row. Where `beside` is not 0, a sample has two streams of that many rows, and the result has them side by
// side: (samples, beside, 2 d).
__device__ __forceinline__ size_t place_of(int row, int beside) {
    return beside == 0 ? row : (row / (2 * beside) * beside + row % beside) * 2 + row / beside % 2;
}

// Put together as Chan, Golub and LeVeque do. Pixels of part p are p, p + parts, ...
struct Moments {
    float mean = 0.0f, rate;
    __device__ __forceinline__ Moments(const float* from, int pixels, int size, int parts, float epsilon) {
        float count = 0.0f, squares = 0.0f;
        for (int part = 0; part < parts; part++) {
            const float n = float((pixels - part + parts - 1) / parts) * size;
            if (n <= 0.0f) continue;
            const float difference = from[2 * part] - mean;
            count += n;
            mean += difference * (n / count);
            squares += from[2 * part + 1] + difference * difference * n * ((count - n) / count);
        }
        rate = rsqrtf(squares / count + epsilon);
    }
};
