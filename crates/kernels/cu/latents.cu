// Between the halves of an autoencoder under training: latents drawn around what its encoder said, and back. One thread a number.
//
// moments (rows, stride) f32 has in each row the mean of `latent` channels, the logarithm of their variance, and what only fills up;
// straight (rows, latent) f32, if there is any, is added to the mean. noise (rows, latent) f32 is normal.
#include "block_sum.cuh"

// What the encoder said of one latent number.
struct SaidLatent {
    float mean, log_variance, deviation;
    // Whether the logarithm lies between its limits, those of vae.rs.
    bool free;
    __device__ __forceinline__ SaidLatent(const float* moments, const float* straight, size_t row, int channel, int latent,
                                          int stride) {
        const float* of = moments + row * stride + channel;
        mean = of[0] + (straight ? straight[row * latent + channel] : 0.0f);
        log_variance = fminf(fmaxf(of[latent], -30.0f), 20.0f);
        free = log_variance == of[latent];
        deviation = __expf(0.5f * log_variance);
    }
};

// z = mean + deviation noise, (rows, padded) bf16, zero behind the channels; Σ ½ (mean² + variance - 1 - ln variance) to `sums`, one a
// block.
extern "C" __global__ void __launch_bounds__(BLOCK_THREADS)
    draw_latents(const float* moments, const float* straight, const float* noise, bf16* z, float* sums, int rows, int latent,
                 int stride, int padded) {
    float sum = 0.0f;
    EACH(i, size_t(rows) * padded) {
        const size_t row = i / padded;
        const int channel = int(i % padded);
        float v = 0.0f;
        if (channel < latent) {
            const SaidLatent said(moments, straight, row, channel, latent, stride);
            v = said.mean + said.deviation * noise[row * latent + channel];
            sum += 0.5f * (said.mean * said.mean + said.deviation * said.deviation - 1.0f - said.log_variance);
        }
        z[i] = to_bf16(v);
    }
    block_sum(sum, sums);
}

// Slopes of the moments, (rows, stride) bf16, and those of `straight`, (rows, latent) bf16, if there is any: from slopes of z,
// (rows, padded) f32, and `weight` (one number) times those of the sum.
extern "C" __global__ void draw_latents_back(const float* moments, const float* straight, const float* noise, const float* slopes,
                                             const float* weight, bf16* by_moments, bf16* by_straight, int rows, int latent,
                                             int stride, int padded) {
    EACH(i, size_t(rows) * stride) {
        const size_t row = i / stride;
        const int place = int(i % stride), channel = place % latent;
        float v = 0.0f;
        if (place < 2 * latent) {
            const SaidLatent said(moments, straight, row, channel, latent, stride);
            const float slope = slopes[row * padded + channel];
            if (place < latent) {
                v = slope + weight[0] * said.mean;
                if (straight) by_straight[row * latent + channel] = to_bf16(v);
            } else if (said.free) {
                v = 0.5f * (slope * noise[row * latent + channel] * said.deviation +
                            weight[0] * (said.deviation * said.deviation - 1.0f));
            }
        }
        by_moments[i] = to_bf16(v);
    }
}
