// The plate's full-resolution passes, one thread a pixel or a number. Premultiplied scene-linear RGBA, f32.
//
// Compiled without contraction (-fmad=false).
#include "exact.cuh"

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

// `split` over pixels: plate, background, foreground (pixels, 4); clean (pixels, 3); alpha (pixels).
extern "C" __global__ void recompose(const float* plate, const float* clean, const float* alpha, float* background,
                                     float* foreground, int pixels) {
    EACH(i, pixels) {
        float below[4], layer[4];
        const bool solved = split(plate + 4 * i, clean + 3 * i, alpha[i], below, layer);
        for (int c = 0; c < 4; c++) {
            background[4 * i + c] = solved ? below[c] : plate[4 * i + c];
            foreground[4 * i + c] = solved ? layer[c] : 0.0f;
        }
    }
}
