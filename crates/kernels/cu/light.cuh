// Light as the plate's solver shows it to the model, and halves, in f32. Compiled without contraction (-fmad=false).
#pragma once
#include "common.cuh"

// The curve of crates/plate/src/light.rs: sRGB up to 1, logarithmic above, linear below 0.
constexpr float SLOPE_AT_WHITE = 1.055f / 2.4f;
constexpr float ROLL = 0.019929f;

__device__ __forceinline__ float encode(float linear, float exposure, float white) {
    const float x = linear * exposure;
    if (x > 1.0f) return white + ROLL * log1pf(white * SLOPE_AT_WHITE / ROLL * (x - 1.0f));
    return white * (x <= 0.0031308f ? 12.92f * x : 1.055f * powf(x, 1.0f / 2.4f) - 0.055f);
}

__device__ __forceinline__ float decode(float encoded, float exposure, float white) {
    const float s = encoded / white;
    float x;
    if (s <= 0.0031308f * 12.92f) x = s / 12.92f;
    else if (s <= 1.0f) x = powf((s + 0.055f) / 1.055f, 2.4f);
    else x = 1.0f + ROLL / (white * SLOPE_AT_WHITE) * expm1f((encoded - white) / ROLL);
    return x / exposure;
}

// Halves in f32, as crates/plate/src/f16.rs has them.
__device__ __forceinline__ float half_round(float x) {
    const uint32_t bits = __float_as_uint(x), sign = bits & 0x80000000u, magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x477ff000u) return x != x ? x : __uint_as_float(0x7f800000u | sign);
    if (magnitude < 0x38800000u) {
        return __uint_as_float(__float_as_uint(__fadd_rn(__fadd_rn(__uint_as_float(magnitude), 0.5f), -0.5f)) | sign);
    }
    return __uint_as_float(((magnitude + 0x0fffu + ((magnitude >> 13) & 1u)) & ~0x1fffu) | sign);
}

constexpr float LEAST_NORMAL_HALF = 6.103515625e-5f;
constexpr float MOST_HALF = 65504.0f;
constexpr float LEAST_NORMAL = 1.17549435e-38f;

__device__ __forceinline__ float half_unit(float t) {
    const float magnitude = fmaxf(fabsf(t), LEAST_NORMAL_HALF);
    return __fmul_rn(__uint_as_float(__float_as_uint(magnitude) & 0x7f800000u), 1.0f / 1024.0f);
}

__device__ __forceinline__ float half_round_up(float x) {
    const float nearest = half_round(x);
    return nearest >= x ? nearest : half_round(__fadd_rn(nearest, half_unit(nearest)));
}

__device__ __forceinline__ float clamp(float x, float low, float high) { return fminf(fmaxf(x, low), high); }

__device__ __forceinline__ bool finite(float x) { return (__float_as_uint(x) & 0x7f800000u) != 0x7f800000u; }

// Whether everything within `error` of `value` rounds to the half `target`.
__device__ __forceinline__ bool rounds_to(float value, float error, float target) {
    const float step = half_unit(target), magnitude = fabsf(target);
    const bool power = magnitude > LEAST_NORMAL_HALF && (__float_as_uint(magnitude) & 0x007fffffu) == 0;
    const float below = power ? step / 4.0f : step / 2.0f;
    float low, high;
    if (target >= 0.0f) {
        low = __fadd_rn(magnitude, -below);
        high = __fadd_rn(magnitude, step / 2.0f);
    } else {
        low = __fadd_rn(-magnitude, -(step / 2.0f));
        high = __fadd_rn(below, -magnitude);
    }
    return __fadd_rn(value, -error) > low && __fadd_rn(value, error) < high;
}
