"""Masks as polygons, for formats that know nothing else. Coordinates are (x, y) in pixels."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.masks import Mask, polygons

Points = NDArray[np.int64]


def outline(mask: Mask) -> Points:
    """One polygon along the edges of the pixels, where pixel (x, y) fills [x, x + 1] x [y, y + 1].

    Holes and islands hang on it by bridges of no width. What lies inside by the rule of odd and even is the mask
    exactly, as pycocotools counts pixels too.

    Returns:
        (K, 2) corners; none of an empty mask.
    """
    framed = np.pad(mask, 1)
    # A corner is where an odd number of the four pixels around is inside. Every row and every column of corners has an
    # even number, and the outline runs between the first and the second, the third and the fourth.
    ys, xs = np.nonzero(framed[1:, 1:] ^ framed[1:, :-1] ^ framed[:-1, 1:] ^ framed[:-1, :-1])
    columns = np.lexsort((ys, xs)).reshape(-1, 2)
    partner = np.empty(len(xs), dtype=np.int64)
    partner[columns] = columns[:, ::-1]
    corners, below, seen = np.stack([xs, ys], axis=1), partner.tolist(), bytearray(len(xs))
    rings = []
    for start in range(len(xs)):
        ring, at = [], start
        while not seen[at]:
            beside = at ^ 1  # corners are numbered row by row
            seen[at] = seen[beside] = 1
            ring += [at, beside]
            at = below[beside]
        if ring:
            rings.append(corners[ring])
    return _join(rings)


def island_outlines(mask: Mask) -> list[Points]:
    """A polygon of each island, through pixels of the mask as `opensam.masks.polygons` has them.

    Holes hang on it by bridges. Filled together with their outlines, as OpenCV and LabelMe fill them, the polygons
    are the mask again.

    Returns:
        (K, 2) pixels each, K at least 3: of an island with fewer, the last one repeats. Islands are pixels that touch
        by side or corner.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    found = []
    for island in range(1, count):
        x, y, width, height = stats[island, :4].tolist()
        rings = polygons(labels[y : y + height, x : x + width] == island)
        points = np.add(_join([ring.astype(np.int64) for ring in rings]), (x, y))
        found.append(np.concatenate([points, points[-1:].repeat(max(0, 3 - len(points)), axis=0)]))
    return found


def _join(rings: Sequence[Points]) -> Points:
    """The rings as one polygon: each one hangs, by its first point, on the nearest point of those before it."""
    whole = np.concatenate([*rings[:1], np.zeros((0, 2), dtype=np.int64)])
    for ring in rings[1:]:
        nearest = int(((whole - ring[0]) ** 2).sum(axis=1).argmin())
        whole = np.concatenate([whole[: nearest + 1], ring, ring[:1], whole[nearest:]])
    return whole
