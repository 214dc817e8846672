// The plate before and after the model: shrunk to what the model sees (`view`), and painted from what was settled at the model's size
// (`paint`). The formulas are those of crates/plate/src/{crop,filters}.rs and crates/plate/src/solver/{paint,detail}.rs, where
// their reasons are. In between the plate stays on the card.
//
// The window has model_w factor by model_h factor pixels. plate (h, w, 4): the window's pixels that exist, from its first row and
// column on, premultiplied scene-linear. Compiled without contraction (-fmad=false).
#include "exact.cuh"

struct Window {
    const float* plate;
    int w, h, model_w, model_h, factor;
    float exposure, white;

    // Column or row of the existing pixels that shows at `at`: itself, or its mirror image past the far edge.
    __device__ __forceinline__ static int mirrored(int at, int n) {
        const int phase = at % (2 * n);
        return phase < n ? phase : 2 * n - 1 - phase;
    }
    __device__ __forceinline__ const float* pixel(int x, int y) const { return plate + 4 * (size_t(y) * w + x); }
    // As the model is shown it: rounded to half first, 0 to 1; no number is black.
    __device__ __forceinline__ float shown(float linear) const {
        const float half = linear != linear ? 0.0f : half_round(clamp(linear, -MOST_HALF, MOST_HALF));
        return clamp(encode(half, exposure, white), 0.0f, 1.0f);
    }
};

// Sums over the factor x factor pixels of each model pixel: red, green, blue as shown, green squared, pixels that half can hold.
// sums (model_h model_w, 5). One warp a model pixel, which has its own order of summing whatever the launch.
extern "C" __global__ void view(const float* plate, float* sums, int w, int h, int model_w, int model_h, int factor,
                                float exposure, float white) {
    const Window window{plate, w, h, model_w, model_h, factor, exposure, white};
    const int lane = threadIdx.x % 32, cell = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (cell >= model_w * model_h) return;
    const int x0 = cell % model_w * factor, y0 = cell / model_w * factor;
    float sum[5] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = lane; i < factor * factor; i += 32) {
        const float* p = window.pixel(Window::mirrored(x0 + i % factor, w), Window::mirrored(y0 + i / factor, h));
        bool holds = true;
        for (int c = 0; c < 4; c++) holds = holds && finite(half_round(p[c]));
        if (!holds) continue;
        const float seen[3] = {window.shown(p[0]), window.shown(p[1]), window.shown(p[2])};
        for (int c = 0; c < 3; c++) sum[c] += seen[c];
        sum[3] += seen[1] * seen[1];
        sum[4] += 1.0f;
    }
    for (int c = 0; c < 5; c++) {
        const float whole = warp_sum(sum[c]);
        if (lane == 0) sums[5 * size_t(cell) + c] = whole;
    }
}

// Planes at the model's size, (PLANES, model_h, model_w). The order is that of crates/kernels/src/ops/paint.rs.
enum { STRENGTH, THROUGH, ADDED = 4, BASE = 7, ALPHA = 10, TRUST, EDGE, COLOUR, LOST = 16, WEIGHT, GAIN, BELOW, PLANES = 22 };

// Four neighbours along one axis and their Catmull-Rom weights, the border repeated.
struct Cubic {
    int at[4];
    float share[4];
    __device__ __forceinline__ Cubic(int place, int n, int factor) {
        if (factor == 1) {
            for (int i = 0; i < 4; i++) {
                at[i] = place;
                share[i] = i == 0 ? 1.0f : 0.0f;
            }
            return;
        }
        const float centre = (float(place % factor) + 0.5f) / float(factor) - 0.5f, first = floorf(centre);
        const float t = centre - first, t2 = t * t, t3 = t * t2;
        share[0] = -0.5f * t3 + t2 - 0.5f * t;
        share[1] = 1.5f * t3 - 2.5f * t2 + 1.0f;
        share[2] = -1.5f * t3 + 2.0f * t2 + 0.5f * t;
        share[3] = 0.5f * t3 - 0.5f * t2;
        for (int i = 0; i < 4; i++) at[i] = min(max(place / factor + int(first) - 1 + i, 0), n - 1);
    }
};

// The four model pixels around a pixel, and the share of each (bilinear).
struct Around {
    int at[4];
    float share[4];
    __device__ __forceinline__ Around(const Window& window, int x, int y) {
        int first[2], second[2];
        float part[2];
        const int place[2] = {x, y}, count[2] = {window.model_w, window.model_h};
        for (int axis = 0; axis < 2; axis++) {
            const float last = float(count[axis] - 1);
            const float v = clamp((float(place[axis]) + 0.5f) / float(window.factor) - 0.5f, 0.0f, last);
            first[axis] = min(int(v), max(count[axis] - 2, 0));
            second[axis] = min(first[axis] + 1, count[axis] - 1);
            part[axis] = v - float(first[axis]);
        }
        for (int i = 0; i < 4; i++) {
            at[i] = (i < 2 ? first[1] : second[1]) * window.model_w + (i % 2 == 0 ? first[0] : second[0]);
            share[i] = (i % 2 == 0 ? 1.0f - part[0] : part[0]) * (i < 2 ? 1.0f - part[1] : part[1]);
        }
    }
};

struct Painter {
    Window window;
    const float* planes;
    // Columns and rows to go to the matching texture, (model_h, model_w, 2); none: no texture.
    const int* offsets;
    // 0 plain, 1 gate, 2 unshadow, 3 seam, 4 detail: crates/plate/src/options.rs.
    int quality;

    __device__ __forceinline__ float small(int plane, int at) const {
        return planes[size_t(plane) * window.model_w * window.model_h + at];
    }

    __device__ __forceinline__ float large(int plane, const Cubic& x, const Cubic& y) const {
        if (window.factor == 1) return small(plane, y.at[0] * window.model_w + x.at[0]);
        // From one of the pixels on, so that an even plane stays just that: whether there is any alpha hangs on it.
        const float origin = small(plane, y.at[1] * window.model_w + x.at[1]);
        float sum = 0.0f;
        for (int i = 0; i < 4; i++) {
            float down = 0.0f;
            for (int j = 0; j < 4; j++) down += y.share[j] * (small(plane, y.at[j] * window.model_w + x.at[i]) - origin);
            sum += x.share[i] * down;
        }
        return origin + sum;
    }

    // Adds the detail that the plate shows at an offset of whole model pixels, times `weight`.
    __device__ __forceinline__ void add_band(int x, int y, float weight, float* sum) const {
        if (x < 0 || y < 0 || x >= window.w || y >= window.h) return;
        const float* p = window.pixel(x, y);
        const Around around(window, x, y);
        for (int c = 0; c < 3; c++) {
            float below = 0.0f;
            for (int i = 0; i < 4; i++) below += around.share[i] * small(BELOW + c, around.at[i]);
            // A highlight or a broken pixel is no texture.
            sum[c] += weight * clamp(window.shown(p[c]) - below, -0.5f, 0.5f);
        }
    }

    // Texture at a pixel, encoded: the model pixels around have a say each; where they do not agree on a place, the sum is
    // scaled back to the strength of one.
    __device__ __forceinline__ void detail(int x, int y, float* sum) const {
        sum[0] = sum[1] = sum[2] = 0.0f;
        if (!offsets) return;
        const Around around(window, x, y);
        float weights[4], strength = 0.0f;
        for (int i = 0; i < 4; i++) {
            const float weight = small(WEIGHT, around.at[i]) * around.share[i];
            weights[i] = weight > 0.0f ? weight * small(GAIN, around.at[i]) : 0.0f;
            strength += weights[i];
        }
        float squares = 0.0f;
        for (int i = 0; i < 4; i++) {
            for (int j = 0; j < i; j++) {
                if (weights[i] > 0.0f && weights[j] > 0.0f && offsets[2 * around.at[i]] == offsets[2 * around.at[j]] &&
                    offsets[2 * around.at[i] + 1] == offsets[2 * around.at[j] + 1]) {
                    weights[j] += weights[i];
                    weights[i] = 0.0f;
                }
            }
        }
        for (int i = 0; i < 4; i++) squares += weights[i] * weights[i];
        if (!(squares > 0.0f)) return;
        const float scale = strength / sqrtf(squares);
        for (int i = 0; i < 4; i++) {
            if (weights[i] <= 0.0f) continue;
            const int dx = offsets[2 * around.at[i]], dy = offsets[2 * around.at[i] + 1];
            add_band(x + dx * window.factor, y + dy * window.factor, scale * weights[i], sum);
        }
    }
};

// The least transmittance that is ever divided by, and the least alpha of an effect that only adds light.
constexpr float DARKEST = 0.015f;
constexpr float FAINTEST = 1.0f / 1024.0f;
// What counts of a pixel beside a hard matte: share of the object's colour, lack of light, alpha that is certain, least difference.
constexpr float SHARE_FROM = 0.06f, SHARE_WHOLE = 0.2f, LACKS_FROM = 0.15f, LACKS_WHOLE = 0.4f, CERTAIN = 0.1f, TELLS = 0.01f;

__device__ __forceinline__ float smoothstep(float x, float low, float high) {
    const float t = clamp((x - low) / (high - low), 0.0f, 1.0f);
    return t * t * (3.0f - 2.0f * t);
}

// Background and foreground (h, w, 4) from planes at the model's size, and from the distance to the matte and the matte
// (model_h factor, model_w factor). Where there is no effect the background has the plate's bits and the foreground is 0.
extern "C" __global__ void paint(const float* plate, const float* planes, const int* offsets, const float* near,
                                 const float* matte, float* background, float* foreground, int w, int h, int model_w,
                                 int model_h, int factor, int quality, float reach, float fade, float threshold,
                                 float hardness, float exposure, float white) {
    const Painter painter{Window{plate, w, h, model_w, model_h, factor, exposure, white}, planes, offsets, quality};
    EACH(i, size_t(w) * h) {
        const int x = int(i % w), y = int(i / w);
        const float* seen = plate + 4 * i;
        const size_t in_window = size_t(y) * model_w * factor + x;
        for (int c = 0; c < 4; c++) {
            background[4 * i + c] = seen[c];
            foreground[4 * i + c] = 0.0f;
        }
        const Cubic across(x, model_w, factor), down(y, model_h, factor);
        const auto large = [&](int plane) { return painter.large(plane, across, down); };
        const float distance = near[in_window], strength = large(STRENGTH);
        const bool inside = distance <= reach;
        const float gate = quality == 0 ? 1.0f : smoothstep(strength, threshold, 3.0f * threshold);
        if (gate <= 0.0f && !inside) continue;

        float own[3], added[3];
        bool adds = false;
        for (int c = 0; c < 3; c++) {
            added[c] = fminf(fmaxf(large(ADDED + c), 0.0f) * gate, fmaxf(seen[c], 0.0f));
            own[c] = seen[c] - added[c];
            adds = adds || added[c] > 0.0f;
        }
        const bool relights = quality >= 2;
        const float edge = relights ? clamp(large(EDGE), 0.0f, 1.0f) : 0.0f;
        const float lost = relights ? clamp(large(LOST), 0.0f, 1.0f) * gate : 0.0f;
        float weight = fmaxf(inside ? clamp((reach + 0.5f - distance) / fade, 0.0f, 1.0f) : 0.0f, lost);
        float encoded[3] = {0.0f, 0.0f, 0.0f}, filled[3];
        if (weight > 0.0f || edge > 0.0f || !relights) {
            float texture[3];
            painter.detail(x, y, texture);
            for (int c = 0; c < 3; c++) encoded[c] = large(BASE + c) + texture[c];
        }
        for (int c = 0; c < 3; c++) filled[c] = decode(encoded[c], exposure, white);
        float through[3], alpha = 0.0f;
        for (int c = 0; c < 3; c++) {
            through[c] = 1.0f - (1.0f - clamp(large(THROUGH + c), DARKEST, 1.0f)) * gate;
            if (edge > 0.0f) {
                const float sharp = clamp(own[c] / fmaxf(filled[c], 1e-4f), DARKEST, 1.0f);
                through[c] += (sharp - through[c]) * edge;
            }
            alpha = fmaxf(alpha, 1.0f - through[c]);
        }
        if (adds) alpha = fmaxf(alpha, FAINTEST * gate);
        if (inside) {
            const float trust = clamp(large(TRUST), 0.0f, 1.0f), model = clamp(large(ALPHA), 0.0f, 1.0f);
            const float matted = 1.0f - (1.0f - matte[in_window]) * (1.0f - alpha);
            const float known = trust * matted + (1.0f - trust) * model;
            alpha = fmaxf(alpha, known);
            if (known < 1.0f && weight > 0.0f && relights && hardness > 0.0f) {
                // How far the plate goes from the fill towards the object's colour, or below the fill's light.
                float along = 0.0f, apart = 0.0f, lacks = 0.0f;
                for (int c = 0; c < 3; c++) {
                    const float to = large(COLOUR + c) - encoded[c];
                    along += to * (painter.window.shown(seen[c]) - encoded[c]);
                    apart += to * to;
                    lacks = fmaxf(lacks, 1.0f - seen[c] / fmaxf(filled[c], 1e-4f));
                }
                const float share = clamp(along / fmaxf(apart, TELLS), 0.0f, 1.0f);
                lacks = clamp(lacks, 0.0f, 1.0f);
                const float rim = hardness * fmaxf(share * smoothstep(share, SHARE_FROM, SHARE_WHOLE),
                                                   lacks * smoothstep(lacks, LACKS_FROM, LACKS_WHOLE));
                if (alpha <= 0.0f) weight *= smoothstep(rim, 0.0f, CERTAIN);
                alpha = fmaxf(alpha, rim * weight);
            }
        }
        alpha = fmaxf(alpha, lost * clamp(strength, 0.0f, 1.0f));
        if (alpha <= 0.0f) continue;

        float clean[3], below[4], layer[4];
        for (int c = 0; c < 3; c++) {
            const float relit = quality == 0 ? filled[c]
                                : quality == 1 ? seen[c] * (1.0f - gate) + filled[c] * gate
                                               : own[c] / through[c];
            clean[c] = weight > 0.0f ? relit + (filled[c] - relit) * weight : relit;
        }
        if (!split(seen, clean, alpha, below, layer)) continue;
        for (int c = 0; c < 4; c++) {
            background[4 * i + c] = below[c];
            foreground[4 * i + c] = layer[c];
        }
    }
}
