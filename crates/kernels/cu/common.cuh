// What every kernel uses, with two meanings: on a card (nvcc), and on a CPU (host/emulate.hpp), where races are looked for.
#pragma once

#ifdef PEEL_HOST
#include "emulate.hpp"
#else
#include <cuda_bf16.h>
#include <cstdint>

using bf16 = __nv_bfloat16;

__device__ __forceinline__ float to_float(bf16 v) { return __bfloat162float(v); }
__device__ __forceinline__ bf16 to_bf16(float v) { return __float2bfloat16_rn(v); }

extern __shared__ __align__(16) unsigned char peel_shared_memory[];

// An array in shared memory, `bytes` from its start.
template <class T>
struct Shared {
    T* p;
    __device__ __forceinline__ explicit Shared(size_t bytes) : p(reinterpret_cast<T*>(peel_shared_memory + bytes)) {}
    __device__ __forceinline__ T get(int i) const { return p[i]; }
    __device__ __forceinline__ void set(int i, T v) const { p[i] = v; }
};

// Two bf16 side by side (an even index), as the matrix unit takes them.
__device__ __forceinline__ uint32_t get_pair(const Shared<bf16>& s, int i) {
    return *reinterpret_cast<const uint32_t*>(s.p + i);
}

// Eight bf16 at a multiple of 16 bytes.
struct Eight {
    union {
        uint4 all;
        bf16 v[8];
    };
    __device__ __forceinline__ Eight() {}
};
__device__ __forceinline__ Eight load_eight(const bf16* from) {
    Eight e;
    e.all = *reinterpret_cast<const uint4*>(from);
    return e;
}
__device__ __forceinline__ void store_eight(const Shared<bf16>& to, int at, const Eight& e) {
    *reinterpret_cast<uint4*>(to.p + at) = e.all;
}

// Eight whole numbers, at a multiple of 8 bytes.
struct Bytes {
    uint2 both;
    __device__ __forceinline__ uint32_t at(int i) const { return ((i < 4 ? both.x : both.y) >> (i % 4 * 8)) & 255u; }
};
__device__ __forceinline__ Bytes load_bytes(const uint8_t* from) { return Bytes{*reinterpret_cast<const uint2*>(from)}; }

// d (16x8) += a (16x16) b (16x8) on the matrix unit. Lane l holds, g being l / 4 and t being l % 4:
// a: pairs at (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); b: pairs at k = 2t and 2t + 8 of column g;
// d: (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1).
__device__ __forceinline__ void mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

__device__ __forceinline__ float to_float(float v) { return v; }

template <class T>
__device__ __forceinline__ T from_float(float v);
template <>
__device__ __forceinline__ float from_float<float>(float v) {
    return v;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float v) {
    return to_bf16(v);
}

__device__ __forceinline__ uint32_t pair_of(float low, float high) {
#ifdef PEEL_HOST
    return uint32_t(to_bf16(low).bits) | uint32_t(to_bf16(high).bits) << 16;
#else
    const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const uint32_t*>(&both);
#endif
}

// A loop over `count` numbers, shared out to all threads of a launch.
#define EACH(i, count) \
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size_t(count); i += size_t(gridDim.x) * blockDim.x)

__device__ __forceinline__ float warp_sum(float v) {
    for (int mask = 16; mask > 0; mask /= 2) v += __shfl_xor_sync(0xffffffffu, v, mask);
    return v;
}

__device__ __forceinline__ float silu_of(float v) { return v / (1.0f + __expf(-v)); }

// The tanh form: x sigmoid(2 √(2/π) (x + 0.044715 x³)).
__device__ __forceinline__ float gelu_of(float v) {
    return v / (1.0f + __expf(-1.5957691216057308f * (v + 0.044715f * v * v * v)));
}

__device__ __forceinline__ float silu_slope(float v) {
    const float share = 1.0f / (1.0f + __expf(-v));
    return share + v * share * (1.0f - share);
}

__device__ __forceinline__ float gelu_slope(float v) {
    const float share = 1.0f / (1.0f + __expf(-1.5957691216057308f * (v + 0.044715f * v * v * v)));
    return share + v * share * (1.0f - share) * 1.5957691216057308f * (1.0f + 3.0f * 0.044715f * v * v);
}
