"""Pictures of any size, tile by tile: each object once, also where tiles cut it.

Tiles overlap, and `stitching` says how what they show becomes one list of masks. What no tile can hold is looked for
in the whole picture, scaled down. No mask is unpacked in the frame of the whole picture: memory is the picture, one
tile's work and the run lengths.
"""

from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from opensam import image as images
from opensam.amg.stitching import Box, drop_duplicates, stitch
from opensam.config import Config
from opensam.geometry import Resize
from opensam.masks import area
from opensam.records import MaskRecord
from opensam.rle import resize_rle, rle_to_box


class Generator(Protocol):
    """Whatever makes the masks of one picture, such as `MaskGenerator`."""

    def generate(self, image: images.Rgb, /) -> list[MaskRecord]:
        """The masks of an (h, w, 3) uint8 picture, in its frame."""


class TilesConfig(Config):
    """How a large picture is cut up and put together again.

    Attributes:
        tile_size: side of a tile in pixels. At the model's `image_size` (1024) it sees each pixel as it is.
        overlap: pixels that neighbouring tiles share at least. An object up to this size is whole in some tile. More
            means surer joins and more tiles: 256 of 1024 make 1.8 times the work of tiles without overlap.
        merge_iou: masks of two tiles are one object from this IoU on, counted where the tiles overlap.
        nms_iou: from this IoU on two masks are the same, and only the better one stays (0.7: paper, B).
        overview: look for objects larger than a tile in the whole picture, scaled to `tile_size`.
        max_pixels: picture files of more are refused before they are decoded. The limit of `opensam.image.read`
            guards against small files that unpack to gigabytes; who asks for tiles expects a large picture.
    """

    tile_size: int = Field(default=1024, ge=16)
    overlap: int = Field(default=256, ge=1)
    merge_iou: float = Field(default=0.5, gt=0, le=1)
    nms_iou: float = Field(default=0.7, gt=0, le=1)
    overview: bool = True
    max_pixels: int = Field(default=1_000_000_000, ge=1)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if 2 * self.overlap > self.tile_size:
            raise ValueError(
                f"expected an overlap of at most half a tile ({self.tile_size // 2} pixels), got {self.overlap}; "
                "enlarge tile_size or lower overlap"
            )
        return self


def generate_tiled(generator: Generator, source: images.Source, config: TilesConfig | None = None) -> list[MaskRecord]:
    """The masks of a picture that is larger than what the model should see at once.

    Args:
        generator: for one tile; it is asked tile by tile, row by row, and for the overview last.
        source: as for `opensam.image.read`. Of a uint8 array, `np.memmap` too, only tiles are copied; anything else
            is read into memory once.
        config: settings; the defaults if None.

    Returns:
        Records with `id` 0, 1, ... by falling predicted IoU, equal ones in the order of the tiles; those of the
        overview last. `crop_box` is what the model saw of the picture: a tile, or the box around several. A picture
        that fits a tile gives exactly what the generator gives.

    Raises:
        ValueError: it cannot be read as a picture, or has too many pixels (`opensam.image.ImageError`).
    """
    config = config or TilesConfig()
    picture = _open(source, config.max_pixels)
    height, width = picture.shape[:2]
    tiles = cut_tiles((height, width), config)
    if len(tiles) == 1:
        return generator.generate(images.read(np.asarray(picture)))
    found = (generator.generate(images.read(np.asarray(picture[y0:y1, x0:x1]))) for x0, y0, x1, y1 in tiles)
    records = stitch(zip(tiles, found, strict=True), (height, width), config.merge_iou)
    records.sort(key=lambda record: -record.predicted_iou)
    if config.overview:
        records += _overview(generator, picture, config.tile_size)
    distinct = drop_duplicates(records, config.nms_iou)
    return [record.model_copy(update={"id": number}) for number, record in enumerate(distinct)]


def cut_tiles(size: tuple[int, int], config: TilesConfig) -> list[Box]:
    """Tiles that cover a picture of `size` (H, W), XYXY half open, row by row.

    They are all of `tile_size`, or of the picture's side where that is less, and as few as possible; what the last
    one has too much is spread over all overlaps.
    """
    rows, columns = (_cut_side(side, config) for side in size)
    return [(x0, y0, x1, y1) for y0, y1 in rows for x0, x1 in columns]


def _cut_side(length: int, config: TilesConfig) -> list[tuple[int, int]]:
    spare = length - config.tile_size
    if spare <= 0:
        return [(0, length)]
    steps = -(-spare // (config.tile_size - config.overlap))  # rounded up
    return [(step * spare // steps, step * spare // steps + config.tile_size) for step in range(steps + 1)]


def _open(source: images.Source, max_pixels: int) -> NDArray[np.uint8]:
    """The picture as an array that can be cut into parts for `image.read`."""
    if isinstance(source, np.ndarray) and source.dtype == np.uint8 and source.ndim in (2, 3) and source.size:
        return source
    return images.read(source, max_pixels=max_pixels)


def _overview(generator: Generator, picture: NDArray[np.uint8], tile_size: int) -> list[MaskRecord]:
    """The masks in the scaled-down picture that are too large for a tile, in the frame of the whole picture."""
    height, width = picture.shape[:2]
    resize = Resize((height, width), tile_size)
    # Means of areas, because one pixel stands for hundreds. OpenCV reads the array in place, without a copy of it.
    small = cv2.resize(np.asarray(picture), resize.input_size[::-1], interpolation=cv2.INTER_AREA)
    return [
        _enlarged(record, resize)
        for record in generator.generate(images.read(small.astype(np.uint8, copy=False)))
        if max(record.bbox[2:]) > tile_size * resize.scale
    ]


def _enlarged(record: MaskRecord, resize: Resize) -> MaskRecord:
    segmentation = resize_rle(record.segmentation, resize.original_size)
    x0, y0, x1, y1 = rle_to_box(segmentation).tolist()
    points = np.array(record.point_coords, dtype=np.float64).reshape(-1, 2)
    height, width = resize.original_size
    return record.model_copy(
        update={
            "segmentation": segmentation,
            "bbox": [float(side) for side in (x0, y0, x1 - x0 + 1, y1 - y0 + 1)],
            "area": area(segmentation),
            "point_coords": resize.restore_coords(points).tolist(),
            "crop_box": [0, 0, width, height],
        }
    )
