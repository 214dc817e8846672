// A sum over a block of threads, one number a block; each has one order.
#pragma once
#include "common.cuh"

constexpr int BLOCK_THREADS = 128;

// Shared: a float a warp. Every thread of the block comes here, once.
__device__ __forceinline__ void block_sum(float sum, float* sums) {
    const Shared<float> warps(0);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) warps.set(threadIdx.x / 32, sum);
    __syncthreads();
    if (threadIdx.x > 0) return;
    float total = 0.0f;
    for (int w = 0; w < BLOCK_THREADS / 32; w++) total += warps.get(w);
    sums[blockIdx.x] = total;
}
