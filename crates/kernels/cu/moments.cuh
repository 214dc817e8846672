// Mean and 1 / sd of a group of a group norm, from the moments of its parts.
#pragma once
#include "common.cuh"

// Put together as Chan, Golub and LeVeque do. Pixels of part p are p, p + parts, ...
struct Moments {
    float mean = 0.0f, rate;
    __device__ __forceinline__ Moments(const float* from, int pixels, int size, int parts, float epsilon) {
        float count = 0.0f, squares = 0.0f;
        for (int part = 0; part < parts; part++) {
            const float n = float((pixels - part + parts - 1) / parts) * size;
            if (n <= 0.0f) continue;
            const float difference = from[2 * part] - mean;
            count += n;
            mean += difference * (n / count);
            squares += from[2 * part + 1] + difference * difference * n * ((count - n) / count);
        }
        rate = rsqrtf(squares / count + epsilon);
    }
};
