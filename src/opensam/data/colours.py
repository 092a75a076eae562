"""Random colours of training pictures, and what cameras and files do to them. Pictures are (H, W, 3) uint8 RGB."""

from statistics import NormalDist

import cv2
import numpy as np

from opensam.image import Rgb

# Random bytes looked up in the quantiles of the normal distribution: noise for a tenth of the time of normal numbers.
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)
_LUMA = np.tile(np.array([0.299, 0.587, 0.114]), (3, 1))
_LEVELS = np.arange(256, dtype=np.float64) / 255


def recolour(rgb: Rgb, strength: float, grey: float, rng: np.random.Generator) -> Rgb:
    """Random brightness, contrast and saturation as one affine map of the colours; grey with probability `grey`."""
    saturation, contrast, brightness = 1 + strength * rng.uniform(-1, 1, 3)
    if rng.random() < grey:
        saturation = 0.0
    if strength == 0 and saturation == 1:
        return rgb
    mix = contrast * (saturation * np.eye(3) + (1 - saturation) * _LUMA)
    shift = 128 * (1 - contrast) + 128 * (brightness - 1)
    recoloured = cv2.transform(rgb, np.column_stack([mix, np.full(3, shift)]))
    return np.asarray(recoloured, dtype=np.uint8)


def degrade(rgb: Rgb, strength: float, rng: np.random.Generator) -> Rgb:
    """Random gamma and white balance, and sometimes turned hues, blur, noise and JPEG artefacts.

    Args:
        rgb: a picture, left as it is.
        strength: 0 to 1; at 1, gamma is in [0.5, 2], blur up to 2 pixels, noise up to 20 levels, and JPEG quality 20
            to 95.
        rng: source of it all.
    """
    gamma = np.exp(strength * rng.uniform(-1, 1) * np.log(2))
    gains = 1 + 0.25 * strength * rng.uniform(-1, 1, 3)
    table = (255 * gains * _LEVELS[:, None] ** gamma).clip(0, 255).round().astype(np.uint8)
    rgb = np.asarray(cv2.LUT(rgb, table[None]), dtype=np.uint8)
    turns, blurs, noisy, saved = rng.random(4) < (0.3, 0.2, 0.3, 0.3)
    if turns:
        rgb = turn_hues(rgb, strength * rng.uniform(-1, 1) * np.pi)
    if blurs:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.3 + strength * rng.uniform(0, 1.7)), dtype=np.uint8)
    if noisy:
        rgb = add_noise(rgb, strength * rng.uniform(0, 20), rng)
    if saved:
        quality = round(95 - strength * rng.uniform(0, 75))
        # OpenCV takes the channels for BGR, both ways; the artefacts differ little.
        _, encoded = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
        rgb = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)
    return rgb


def turn_hues(rgb: Rgb, angle: float) -> Rgb:
    """Colours turned around the grey axis by `angle` radians; greys stay."""
    turn, _ = cv2.Rodrigues(np.full(3, angle / np.sqrt(3)))
    return np.asarray(cv2.transform(rgb, turn), dtype=np.uint8)


def add_noise(rgb: Rgb, sigma: float, rng: np.random.Generator) -> Rgb:
    """Normal noise of `sigma` levels, for each pixel and channel."""
    noise = cv2.LUT(np.frombuffer(rng.bytes(rgb.size), np.uint8).reshape(rgb.shape), sigma * _QUANTILES)
    return np.asarray(cv2.add(rgb, noise, dtype=cv2.CV_8U), dtype=np.uint8)
