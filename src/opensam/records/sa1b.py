"""The record of a picture and its masks: the JSON of SA-1B, one file a picture.

    {"image": {"image_id", "width", "height", "file_name"},
     "annotations": [{"id", "segmentation", "bbox", "area", "point_coords",
                      "predicted_iou", "stability_score", "crop_box", "category"?}]}

Here, and nowhere else, boxes are XYWH. Keys that are not listed are kept: a file passes through unharmed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from opensam.masks import Mask, Rle, area, decode_rle, encode_rle, mask_to_box
from opensam.rle import crop_rle, rle_to_box

Number = int | float  # as it was written: 150 and 150.0 both come back the way they were
Xywh = Annotated[list[Number], Field(min_length=4, max_length=4)]
Xy = Annotated[list[Number], Field(min_length=2, max_length=2)]


class RecordError(ValueError):
    """A record that cannot be read; the message names the file, the field, and what is wrong with it."""


class _Record(BaseModel):
    # JSON has no NaN: a score that is not a number is a mistake to show where it is made.
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers, in the order of SA-1B, without the fields that are None."""
        return self.model_dump(exclude_none=True)


class MaskRecord(_Record):
    """One mask.

    Attributes:
        id: unique in the data set.
        segmentation: COCO compressed RLE.
        bbox: [x, y, width, height] of the mask in pixels; one pixel has width 1, as in COCO.
        area: pixels in the mask.
        point_coords: [[x, y]] the prompt points in the original frame; empty if it was prompted otherwise.
        predicted_iou: the model's estimate, as it came (it can exceed 1); 1.0 for ground truth.
        stability_score: see `opensam.masks.stability_score`; 1.0 for ground truth.
        crop_box: [x, y, width, height] of the part of the picture that the model saw.
        category: what it is, where somebody said so.
    """

    id: int
    segmentation: Rle
    bbox: Xywh
    area: int
    point_coords: list[Xy]
    predicted_iou: float
    stability_score: float
    crop_box: Xywh
    category: str | None = None

    @classmethod
    def from_mask(
        cls,
        mask: Mask,
        mask_id: int,
        *,
        predicted_iou: float,
        stability_score: float,
        point_coords: Sequence[Sequence[Number]] = (),
        crop_box: Sequence[Number] | None = None,
        category: str | None = None,
    ) -> Self:
        """Describe a mask: segmentation, bbox and area are computed, the other fields are as in the class.

        Args:
            mask: (H, W) bool.
            mask_id: becomes `id`.
            predicted_iou: a finite number.
            stability_score: a finite number.
            point_coords: (x, y) each, original frame.
            crop_box: XYWH; the whole picture if None.
            category: left out of the JSON if None.

        Raises:
            ValueError: not a mask, or a score that is not finite.
        """
        pixels = area(mask)
        x0, y0, x1, y1 = mask_to_box(mask).tolist()
        bbox = [x0, y0, x1 - x0 + 1, y1 - y0 + 1] if pixels else [0, 0, 0, 0]
        height, width = mask.shape
        return cls(
            id=mask_id,
            segmentation=encode_rle(mask),
            bbox=[float(side) for side in bbox],  # floats, as SA-1B has them
            area=pixels,
            point_coords=[list(point) for point in point_coords],
            predicted_iou=predicted_iou,
            stability_score=stability_score,
            crop_box=[0, 0, width, height] if crop_box is None else list(crop_box),
            category=category,
        )

    @property
    def mask(self) -> Mask:
        """The mask, (H, W) bool."""
        return decode_rle(self.segmentation)

    def cutout(self) -> tuple[int, int, Mask]:
        """The mask within its own tight box: x and y of the corner, and (h, w) bool; (0, 0) pixels of an empty mask.

        `bbox` is not trusted for it. Only the box is unpacked, not the picture.

        Raises:
            ValueError: the runs do not fill the picture exactly.
        """
        if not area(self.segmentation):
            return 0, 0, np.zeros((0, 0), dtype=np.bool_)
        x0, y0, x1, y1 = rle_to_box(self.segmentation).tolist()
        return x0, y0, decode_rle(crop_rle(self.segmentation, (x0, y0), (y1 - y0 + 1, x1 - x0 + 1)))


class ImageInfo(_Record):
    """Which picture: its number in the data set, its size in pixels, its file."""

    image_id: int
    width: int
    height: int
    file_name: str


class ImageRecord(_Record):
    """A picture and its masks."""

    image: ImageInfo
    annotations: list[MaskRecord]

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        size = [self.image.height, self.image.width]
        for record in self.annotations:
            if record.segmentation["size"] != size:
                raise ValueError(
                    f"expected masks of the picture's size {size}, got {record.segmentation['size']} "
                    f"for the mask with id {record.id}"
                )
        return self

    def to_json(self) -> bytes:
        """The file: compact ASCII JSON; reading and writing it again gives the same bytes."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False).encode("ascii")


def read_image_record(source: bytes | str | Path) -> ImageRecord:
    """Read the record of one picture.

    Args:
        source: the JSON as bytes, or the path of a file.

    Raises:
        RecordError: no such file, not JSON, or a field is missing or wrong.
    """
    name = "the given bytes" if isinstance(source, bytes) else str(source)
    try:
        content = source if isinstance(source, bytes) else Path(source).read_bytes()
        return ImageRecord.model_validate_json(content)
    except OSError as error:
        raise RecordError(f"cannot read {name}: {error.strerror}; check the path.") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        reason = first["msg"].removeprefix("Value error, ")
        raise RecordError(
            f"cannot read {name} as an SA-1B record: {field}: {reason}; opensam.records shows the layout."
        ) from error
