// The plate's full-resolution passes, one thread a pixel or a number. Premultiplied scene-linear RGBA, f32.
//
// Products and sums are written as separately rounded operations wherever the result is compared to the bit (`recompose`): the
// CPU's are, and the file is solved for exactly that. Compiled without contraction (-fmad=false).
#include "common.cuh"

#define EACH(i, count) \
    for (size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x; i < size_t(count); i += size_t(gridDim.x) * blockDim.x)

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

extern "C" __global__ void light_encode(const float* linear, float* encoded, int count, float exposure, float white) {
    EACH(i, count) encoded[i] = encode(linear[i], exposure, white);
}

extern "C" __global__ void light_decode(const float* encoded, float* linear, int count, float exposure, float white) {
    EACH(i, count) linear[i] = decode(encoded[i], exposure, white);
}

// The background that a plate shows under an effect, encoded: (decode(plate) - gate light) / (1 - (1 - transmittance) gate), where the
// transmittance counts as 1 - most at least. Encoded numbers in and out; where the gate is 0, the plate's own bits.
extern "C" __global__ void unshadow(const float* plate, const float* transmittance, const float* light, const float* gate,
                                    float* background, int count, float most, float exposure, float white) {
    EACH(i, count) {
        const float g = gate[i];
        if (g <= 0.0f) {
            background[i] = plate[i];
            continue;
        }
        const float through = 1.0f - fminf(1.0f - transmittance[i], most) * g;
        const float own = fmaxf(decode(plate[i], exposure, white) - g * light[i], 0.0f);
        background[i] = encode(own / through, exposure, white);
    }
}

// top + (1 - top alpha) bottom over pixels of four; each operation rounded by itself.
extern "C" __global__ void over(const float* top, const float* bottom, float* y, int pixels) {
    EACH(i, size_t(pixels) * 4) {
        const float rest = __fadd_rn(1.0f, -top[i / 4 * 4 + 3]);
        y[i] = __fadd_rn(top[i], __fmul_rn(rest, bottom[i]));
    }
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

// How far another evaluation of p + rest may be off: see crates/plate/src/exact.rs.
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

// Divides a plate into background and foreground of halves, so that foreground over background rounds to the plate's half;
// `split` of crates/plate/src/exact.rs, to the bit, for opaque pixels; others, and those without solution, stay with the background.
// plate, background, foreground (pixels, 4); clean (pixels, 3); alpha (pixels).
extern "C" __global__ void recompose(const float* plate, const float* clean, const float* alpha, float* background,
                                     float* foreground, int pixels) {
    EACH(i, pixels) {
        const float* seen = plate + 4 * i;
        float target[4], below[4], layer[4];
        bool possible = true;
        for (int c = 0; c < 4; c++) {
            target[c] = half_round(seen[c]);
            possible = possible && finite(target[c]);
        }
        const float share = fminf(fmaxf(alpha[i], 0.0f), 1.0f);
        float a = half_round(alpha[i] != alpha[i] ? 0.0f : share);
        possible = possible && a > 0.0f && target[3] == 1.0f;
        for (int c = 0; c < 3; c++) {
            const float v = clean[3 * i + c];
            possible = possible && finite(v);
            below[c] = half_round(fminf(fmaxf(v, -MOST_HALF), MOST_HALF));
        }
        below[3] = 1.0f;
        bool solved = false;
        if (possible) {
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
                solved = attempt(target, below, a, layer);
                if (solved || a >= 1.0f) break;
                a = half_round_up(fminf(__fadd_rn(a, step), 1.0f));
                step = __fmul_rn(step, 1.5f);
            }
        }
        for (int c = 0; c < 4; c++) {
            background[4 * i + c] = solved ? below[c] : seen[c];
            foreground[4 * i + c] = solved ? layer[c] : 0.0f;
        }
    }
}
