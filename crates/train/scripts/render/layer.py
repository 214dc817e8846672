"""From two renderings, with the object and without, to a triplet: display-referred plate, background, mask and the layer that lies between."""

import numpy as np


def srgb(linear):
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def exposure(background, random) -> float:
    """A mean luminance between 0.1 and 0.35, with 97 % of the background below clipping. `background` is scene-linear Rec.709."""
    mean = float((background @ np.float32([0.2126, 0.7152, 0.0722])).mean())
    bright = float(np.percentile(background.max(-1), 97))
    return min(random.uniform(0.1, 0.35) / max(mean, 1e-4), 1.05 / max(bright, 1e-4))


# Below this difference, plate and background are the same: noise that the denoiser left.
SAME = 2.6 / 255


def smallest_layer(plate, background, mask):
    """The layer (straight RGB, alpha) with the smallest alpha that gives `plate` over `background`, and `mask` at least. What is taken for noise
    is in no layer: over some thousandth of the pixels the three do not lie back together. All display-referred, 0 to 1; shapes (h, w, 3), (h, w, 3), (h, w)."""
    room = np.where(plate > background, 1 - background, background)
    change = (np.abs(plate - background) / np.maximum(room, 1e-3)).max(-1)
    # Specks are noise, too: what is no difference to the middle or the mean of three by three.
    around = np.lib.stride_tricks.sliding_window_view(np.pad(plate - background, ((1, 1), (1, 1), (0, 0)), "edge"), (3, 3), (0, 1))
    middle, mean = np.median(np.abs(around).max(2), (2, 3)), np.abs(around.mean((3, 4))).max(-1)
    differs = np.minimum(middle, mean)
    change = np.where(differs < SAME, 0, change)
    alpha = np.maximum(mask, np.clip(change, 0, 1))
    safe = np.maximum(alpha, 1e-3)[..., None]
    colour = np.clip((plate - (1 - alpha[..., None]) * background) / safe, 0, 1)
    return np.where(alpha[..., None] > 0, colour, 0), alpha


def uneven(share: float) -> str:
    """Why a thing that covers this share of the picture is of no use, or nothing."""
    return "" if 0.02 <= share <= 0.4 else f"the thing covers {share:.1%}"


def useless(background, alpha) -> str:
    """Why there is nothing to learn from a triplet, or nothing."""
    if float((alpha > 0.03).mean()) > 0.95:
        return "the effect covers everything"
    if float(background.std()) < 0.01 or float(background.mean()) < 0.03:
        return "the background is empty or black"
    return ""
