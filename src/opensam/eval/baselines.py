"""Methods without learning that the model has to beat."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from opensam.eval.segmenters import Masks
from opensam.image import Rgb

# As many as OpenCV's own tutorial runs.
ITERATIONS = 5


@dataclass(frozen=True)
class GrabCut:
    """OpenCV's GrabCut (Rother et al. 2004): colour models inside and outside a box, graph cuts between them.

    Where it has nothing to say, the box itself is its answer: a box over the whole picture leaves it no
    background to learn from, and of a tiny or weak object it may cut everything away.

    Attributes:
        iterations: rounds of learning the colours and cutting.
        seed: of OpenCV's clustering, set anew for each box: no answer depends on what was asked before.
    """

    iterations: int = ITERATIONS
    seed: int = 0

    def embed(self, image: Rgb) -> Rgb:
        """The picture itself."""
        return image

    def segment_boxes(self, embedding: Rgb, boxes: NDArray[np.float64]) -> Masks:
        """The masks (P, H, W) of the objects in XYXY boxes (P, 4); see `BoxSegmenter`."""
        return np.stack([self._segment(embedding, box) for box in boxes])

    def _segment(self, image: Rgb, box: NDArray[np.float64]) -> Masks:
        x0, y0, x1, y1 = np.rint(box).astype(int)
        inside = (slice(max(y0, 0), y1 + 1), slice(max(x0, 0), x1 + 1))
        labels = np.full(image.shape[:2], cv2.GC_BGD, dtype=np.uint8)
        labels[inside] = cv2.GC_PR_FGD
        the_box: Masks = labels == cv2.GC_PR_FGD
        if the_box.all():
            return the_box
        cv2.setRNGSeed(self.seed)
        try:
            cv2.grabCut(image, labels, None, None, None, self.iterations, cv2.GC_INIT_WITH_MASK)  # type: ignore[call-overload]
        except cv2.error:
            return the_box
        mask: Masks = labels == cv2.GC_PR_FGD
        return mask if mask.any() else the_box
