"""Edges from gradients alone, which need no learning: what a map of edges has to beat."""

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.eval.edges import Edges, keep_ridges, sobel
from opensam.image import Rgb

SIGMA = 2.0
"""Smoothing of Canny's detector in pixels, as in the Berkeley benchmark (`pbCanny`)."""

# Of `pbCanny`: a logistic curve, fitted to human boundaries at this sigma, makes a probability of a gradient; so many
# thresholds, each with a lower one that an edge may fall to once it has begun.
_OFFSET, _SLOPE = -2.9906, 22.4549
_LEVELS, _LOWER = 100, 1 / 3


def canny(picture: Rgb) -> Edges:
    """Canny's detector at many thresholds: the highest at which a pixel is still part of an edge.

    This is `pbCanny` of the Berkeley benchmark: gradients of the grey picture at one scale, thinned, as probabilities,
    with hysteresis.

    Args:
        picture: (H, W, 3).

    Returns:
        (H, W) in [0, 1], thinned.
    """
    smooth = cv2.GaussianBlur(_grey(picture), (0, 0), SIGMA, borderType=cv2.BORDER_REFLECT)
    down, across = np.gradient(smooth)
    # A derivative of a Gaussian whose absolute values sum up to 1 answers a step from 0 to 1 with 1/2.
    magnitude = np.hypot(across, down) * np.float32(SIGMA * np.sqrt(2 * np.pi) / 2)
    probability = (1 / (1 + np.exp(-_OFFSET - _SLOPE * magnitude))).astype(np.float32)
    ridges = keep_ridges(probability, np.arctan2(down, across))
    edges = np.zeros_like(ridges)
    for level in np.linspace(1 / _LEVELS, 1 - 1 / _LEVELS, _LEVELS, dtype=np.float32):
        edges[_connected(ridges > level * np.float32(_LOWER), ridges >= level)] = level
    return edges


def sobel_edges(picture: Rgb) -> Edges:
    """The length of the gradient of the grey picture by Sobel's filter, thinned.

    Args:
        picture: (H, W, 3).

    Returns:
        (H, W) in [0, 1]; 1 is the steepest that a picture can have.
    """
    across, down = sobel(_grey(picture))
    # The longest gradient is (4, 2).
    magnitude = np.asarray(np.hypot(across, down) / np.float32(np.sqrt(20)), dtype=np.float32)
    return keep_ridges(magnitude, np.arctan2(down, across))


def _grey(picture: Rgb) -> Edges:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)


def _connected(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The regions of `weak`, which touch by side or corner, that have a pixel of `strong`."""
    number, labels = cv2.connectedComponents(weak.view(np.uint8), connectivity=8)
    chosen = np.zeros(number, dtype=np.bool_)
    chosen[labels[strong]] = True
    chosen[0] = False
    return np.asarray(chosen[labels], dtype=np.bool_)
