"""Prints what `perceptual/frechet.rs` is tested against: the Fréchet distance by NumPy's covariance and SciPy's matrix square root.

    pip install scipy numpy
    python crates/train/scripts/frechet_reference.py
"""

import numpy as np
from scipy.linalg import sqrtm


def cloud(which, count, features):
    value = lambda i, j: ((i * i * 7 + j * 13 + i * j * (3 + which)) % 83) / 41.0 + 0.1 * which
    return np.array([[value(i, j) for j in range(features)] for i in range(count)], np.float64)


def frechet(a, b):
    (ma, ca), (mb, cb) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    return float(((ma - mb) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real))


def main():
    for count, features in ((40, 8), (10, 16)):
        print(count, features, repr(frechet(cloud(0, count, features), cloud(1, count, features))))


if __name__ == "__main__":
    main()
