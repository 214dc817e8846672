// The training loss: weights of pixels, errors of both layers, recomposition; values and slopes in one pass. All of it is f32.
//
// The formula is that of crates/train/src/loss.rs. What the network says, y, is compared as the clean layer that it leads to,
// x = gain (p z + q y) + offset, z being the noisy layer; (p, q) are a sample's.
#include "block_sum.cuh"

// What a sample is told, in the order of ops/loss.rs.
struct Terms {
    float p, q;                       // of the clean layer
    float scale;                      // of the slopes
    float mse, l1, alpha_l1, consistency;  // weights, the importance of the sample's time included
    float compared;                   // 1 where the layer is known, else 0
    float effect, shadow, threshold;  // of pixels
};
constexpr int TERMS = 11;

__device__ __forceinline__ Terms terms_of(const float* terms, size_t sample) {
    const float* t = terms + sample * TERMS;
    return Terms{t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10]};
}

__device__ __forceinline__ float sign_of(float v) { return v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f; }

// w = 1 + effect [a > t] + shadow [a > t and outside the mask], meaned over `stride` by `stride` pixels: alpha and mask
// (N, h, w) to (N, h / stride, w / stride).
extern "C" __global__ void pixel_weights(const float* alpha, const float* mask, const float* terms, float* weights, int pictures,
                                         int h, int w, int stride) {
    const int rows = h / stride, columns = w / stride;
    EACH(i, size_t(pictures) * rows * columns) {
        const size_t sample = i / (size_t(rows) * columns);
        const int row = int(i / columns % rows) * stride, column = int(i % columns) * stride;
        const Terms t = terms_of(terms, sample);
        float sum = 0.0f;
        for (int y = row; y < row + stride; y++) {
            for (int x = column; x < column + stride; x++) {
                const size_t at = (sample * h + y) * w + x;
                const bool there = alpha[at] > t.threshold;
                sum += 1.0f + (there ? t.effect : 0.0f) + (there && mask[at] < 0.5f ? t.shadow : 0.0f);
            }
        }
        weights[i] = sum / float(stride * stride);
    }
}

// Σ w (mse e² + l1 |e|) of a layer to `sums` (one a block), and its slopes by what was said times scale and `mean`, with
// e = x - truth. said, noisy, truth, slopes (N, channels, pixels), weights (N, pixels). Of what is `layer` the fourth channel is alpha,
// and only samples whose layer is known are compared.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)
    layer_errors(const float* said, const float* noisy, const float* truth, const float* weights, const float* terms,
                 float* slopes, float* sums, int pictures, int channels, int pixels, int layer, float gain, float offset,
                 float mean) {
    float sum = 0.0f;
    EACH(i, size_t(pictures) * channels * pixels) {
        const size_t sample = i / (size_t(channels) * pixels), pixel = i % pixels;
        const Terms t = terms_of(terms, sample);
        const float l1 = layer && i / pixels % channels == 3 ? t.alpha_l1 : t.l1;
        const float w = weights[sample * pixels + pixel] * (layer ? t.compared : 1.0f);
        const float e = gain * (t.p * noisy[i] + t.q * said[i]) + offset - truth[i];
        sum += w * (t.mse * e * e + l1 * fabsf(e));
        slopes[i] = t.scale * mean * gain * t.q * w * (2.0f * t.mse * e + l1 * sign_of(e));
    }
    block_sum(sum, sums);
}

// Σ consistency |F rgb + (1 - F a) B - C| over blocks of pixels to `sums` (one a block); its slopes by what was said, times scale and
// `mean`, are added to what is there. Of background and plate (N, 3, pixels), of foreground (N, 4, pixels) premultiplied.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)
    consistency(const float* said_background, const float* said_foreground, const float* noisy_background,
                const float* noisy_foreground, const float* plate, const float* terms, float* by_background,
                float* by_foreground, float* sums, int pictures, int pixels, float gain, float offset, float mean) {
    float sum = 0.0f;
    EACH(i, size_t(pictures) * pixels) {
        const size_t sample = i / pixels, pixel = i % pixels;
        const size_t b0 = sample * 3 * pixels + pixel, f0 = sample * 4 * pixels + pixel, a0 = f0 + size_t(3) * pixels;
        const Terms t = terms_of(terms, sample);
        const float alpha = gain * (t.p * noisy_foreground[a0] + t.q * said_foreground[a0]) + offset;
        const float step = t.scale * mean * gain * t.q * t.consistency;
        float by_alpha = 0.0f;
        for (int c = 0; c < 3; c++) {
            const size_t at_b = b0 + size_t(c) * pixels, at_f = f0 + size_t(c) * pixels;
            const float background = gain * (t.p * noisy_background[at_b] + t.q * said_background[at_b]) + offset;
            const float foreground = gain * (t.p * noisy_foreground[at_f] + t.q * said_foreground[at_f]) + offset;
            const float error = foreground + (1.0f - alpha) * background - plate[at_b];
            const float slope = step * sign_of(error);
            sum += t.consistency * fabsf(error);
            by_foreground[at_f] += slope;
            by_background[at_b] += slope * (1.0f - alpha);
            by_alpha -= slope * background;
        }
        by_foreground[a0] += by_alpha;
    }
    block_sum(sum, sums);
}
