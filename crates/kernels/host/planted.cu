// Faults planted on purpose: the suite fails unless the emulation finds each of them.
#include "../cu/common.cuh"

// A maximum of 64 numbers by halving; the barrier after each halving is missing, which any order of the fibers may hide.
extern "C" __global__ void planted_missing_barrier(const float* x, float* y) {
    const Shared<float> most(0);
    most.set(threadIdx.x, x[threadIdx.x]);
    __syncthreads();
    for (int half = 32; half > 0; half /= 2) {
        if (int(threadIdx.x) < half) {
            const float mine = most.get(threadIdx.x), other = most.get(threadIdx.x + half);
            most.set(threadIdx.x, fmaxf(mine, other));
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) y[0] = most.get(0);
}

// Writes one number too many.
extern "C" __global__ void planted_off_by_one(const float* x, float* y, int count) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= count) y[i] = i < count ? x[i] : 1.0f;
}

// Half of the threads leave before a barrier.
extern "C" __global__ void planted_divergent_barrier(float* y) {
    if (threadIdx.x >= 32) return;
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}

// Shared memory one element past its end.
extern "C" __global__ void planted_shared_overrun(float* y) {
    const Shared<float> s(0);
    s.set(threadIdx.x + 1, 1.0f);
    __syncthreads();
    y[threadIdx.x] = s.get(threadIdx.x + 1);
}
