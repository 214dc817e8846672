// Layers that lay back together exactly: `split` of crates/plate/src/exact.rs, to the bit, where its reasons are. Products and sums are
// separately rounded operations: the CPU's are, and the file is solved for exactly that.
#pragma once
#include "light.cuh"

// How far another evaluation of p + rest may be off.
__device__ __forceinline__ float bound(float p, float rest) {
    return __fadd_rn(__fmul_rn(1.0f / 4194304.0f, __fadd_rn(fabsf(p), fabsf(rest))), LEAST_NORMAL);
}

__device__ __forceinline__ bool verify(float p, float rest, float target) {
    return finite(p) && rounds_to(__fadd_rn(p, rest), bound(p, rest), target);
}

// The half that, added to `rest`, rounds safely to `target`.
__device__ __forceinline__ bool solve_colour(float target, float rest, float& out) {
    const float wanted = __fadd_rn(target, -rest), nearest = half_round(wanted), unit = half_unit(nearest);
    const float towards = copysignf(unit, __fadd_rn(wanted, -nearest));
    const float tries[3] = {nearest, __fadd_rn(nearest, towards), __fadd_rn(nearest, -towards)};
    for (int i = 0; i < 3; i++) {
        float p = tries[i];
        if (target >= 0.0f && rest <= target) p = fmaxf(p, 0.0f);
        p = half_round(p);
        if (verify(p, rest, target)) {
            out = p;
            return true;
        }
    }
    return false;
}

__device__ __forceinline__ bool attempt(const float* target, const float* below, float a, float* layer) {
    const float q = __fadd_rn(1.0f, -a);
    for (int c = 0; c < 3; c++)
        if (!solve_colour(target[c], __fmul_rn(q, below[c]), layer[c])) return false;
    layer[3] = a;
    return verify(a, __fmul_rn(q, below[3]), target[3]);
}

// Divides a plate's pixel into background `below` and foreground `layer`, four halves each, such that the foreground over the
// background rounds to the plate's half; false where the pixel stays as it is. `clean` is the background's colour, `alpha` the foreground's
// share of the pixel.
__device__ __forceinline__ bool split(const float* seen, const float* clean, float alpha, float* below, float* layer) {
    float target[4];
    bool possible = true;
    for (int c = 0; c < 4; c++) {
        target[c] = half_round(seen[c]);
        possible = possible && finite(target[c]);
    }
    for (int c = 0; c < 3; c++) possible = possible && finite(clean[c]);
    const float opacity = target[3];
    float a = alpha != alpha ? 0.0f : half_round(__fmul_rn(clamp(alpha, 0.0f, 1.0f), clamp(opacity, 0.0f, 1.0f)));
    if (!possible || !(a > 0.0f)) return false;
    const float rest = fmaxf(__fadd_rn(1.0f, -a), LEAST_NORMAL);
    float cover = 1.0f, share = 1.0f;
    if (opacity != 1.0f) {
        // The foreground takes its share of the plate's alpha, the background keeps what is left of it.
        cover = fminf(half_round(__fdiv_rn(fmaxf(__fadd_rn(opacity, -a), 0.0f), rest)), 1.0f);
        share = __fdiv_rn(cover, opacity);
    }
    for (int c = 0; c < 3; c++) below[c] = half_round(clamp(__fmul_rn(clean[c], share), -MOST_HALF, MOST_HALF));
    below[3] = cover;
    if (opacity != 1.0f) {
        // Alpha cannot be raised here, so the background gives way.
        for (int c = 0; c < 3; c++) {
            const float most = __fmul_rn(__fdiv_rn(target[c], rest), 1.0f - 1.0f / 2048.0f);
            below[c] = half_round(clamp(below[c], fminf(most, 0.0f), fmaxf(most, 0.0f)));
        }
    }
    // Raise alpha until (1 - alpha) B is nowhere past a target of the same sign.
    float q = __fadd_rn(1.0f, -a);
    for (int c = 0; c < 3; c++) {
        const float x = below[c], t = target[c];
        const bool same_sign = (x > 0.0f && t >= 0.0f) || (x < 0.0f && t <= 0.0f);
        if (same_sign && fabsf(__fmul_rn(q, x)) > fabsf(t)) q = __fdiv_rn(t, x);
    }
    a = fminf(half_round_up(__fadd_rn(1.0f, -q)), 1.0f);
    float step = fmaxf(half_unit(a), 1.0f / 8192.0f);
    for (;;) {
        if (attempt(target, below, a, layer)) return true;
        if (a >= 1.0f) return false;
        a = half_round_up(fminf(__fadd_rn(a, step), 1.0f));
        step = __fmul_rn(step, 1.5f);
    }
}
