// The left side of a convolution's product, gathered from channels-last pictures: see conv.cu for the sizes.
#pragma once
#include "gemm.cuh"

struct Gathered {
    const bf16* x;
    const bf16* skip;
    int rows, h, w, c, out_h, out_w, s, step;
    // Where the number is that pixel `row` of the result sees at a tap and channel; null outside of the picture.
    __device__ __forceinline__ const bf16* place(int row, int tap, int channel) const {
        const int column = row % out_w, line = row / out_w % out_h, picture = row / (out_w * out_h);
        const bool of_skip = channel >= c;
        // The skip is as large as the result; x as its step says.
        const int stride = !of_skip && (step == 1 || step == 3) ? 2 : 1;
        const int before = !of_skip && step == 3 ? 0 : 1;
        const int halve = !of_skip && step == 2 ? 2 : 1;
        const int height = of_skip ? out_h : h, width = of_skip ? out_w : w;
        const int yy = line * stride + tap / 3 - before, xx = column * stride + tap % 3 - before;
        if (yy < 0 || xx < 0 || yy >= height * halve || xx >= width * halve) return nullptr;
        const size_t pixel = (size_t(picture) * height + yy / halve) * width + xx / halve;
        return of_skip ? skip + pixel * s + channel - c : x + pixel * c + channel;
    }
    __device__ __forceinline__ Eight eight(int row, int at) const {
        const int channels = c + s;
        if (row >= rows || at >= 9 * channels) return zeros();
        const bf16* from = place(row, at / channels, at % channels);
        return from ? load_eight(from) : zeros();
    }
};
