"""The smaller data set that the paper measures on where one has many masks."""

import numpy as np

from opensam.data.dataset import Dataset, Part

MANY = 15_000
"""Data sets with more masks are sampled (paper, D.1)."""


def sampled(dataset: Dataset, masks: int = 10_000, seed: int = 0, above: int = MANY) -> Part:
    """All pictures with masks, or of a data set with more than `above` masks, pictures with about `masks` together.

    The paper (D.1) drew pictures at random until their masks were about 10,000. Which ones is not published; here the
    seed and the number of pictures decide. Masks are read until there are more than `above`.

    Args:
        dataset: a picture that cannot be read stays in, for whoever reads it next to say so.
        masks: of the pictures that are kept; the last one may exceed it.
        seed: other pictures.
        above: see above.

    Returns:
        A part in the order of the data set, under its name.

    Raises:
        ValueError: `masks` exceeds `above`.
    """
    if not 0 < masks <= above:
        raise ValueError(f"expected a number of masks from 1 to {above} to sample, got {masks}")
    kept: list[int] = []
    enough, total = 0, 0  # pictures that have `masks` masks, and the masks so far
    for i in np.random.default_rng(seed).permutation(len(dataset)).tolist():
        try:
            count = len(dataset.masks(i))
        except (ValueError, OSError):
            kept.append(i)
            continue
        if count:
            kept.append(i)
        enough = len(kept) if total < masks <= total + count else enough
        total += count
        if total > above:
            return Part(dataset, sorted(kept[:enough]))
    return Part(dataset, sorted(kept))
