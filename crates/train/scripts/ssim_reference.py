"""Prints what `metrics/ssim.rs` is tested against: scikit-image's structural similarity of two small patterns.

    pip install scikit-image numpy
    python crates/train/scripts/ssim_reference.py
"""

import numpy as np
from skimage.metrics import structural_similarity

WIDTH, HEIGHT = 20, 17


def value(x, y, c):
    return np.float32((x * x * 3 + y * 7 + x * y * (c + 1)) % 97) / np.float32(96)


def picture(f):
    return np.array([[[f(x, y, c) for c in range(3)] for x in range(WIDTH)] for y in range(HEIGHT)], np.float32)


def main():
    first = picture(value)
    second = picture(lambda x, y, c: np.float32(0.75) * value(x, y, c) + np.float32(0.25) * value(y, x, 2 - c))
    _, similarity = structural_similarity(
        first.astype(np.float64),
        second.astype(np.float64),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        channel_axis=-1,
        full=True,
    )
    similarity = similarity.mean(-1)
    print("mean", repr(float(similarity.mean())))
    for index in (0, 19, 87, 170, 339):
        print(index, repr(float(similarity.ravel()[index])))


if __name__ == "__main__":
    main()
