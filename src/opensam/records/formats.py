"""The masks of pictures as files of other programs: SA-1B, COCO, YOLO, LabelMe, PNG, label maps.

Nothing is written here: a format gives names and contents of files, and who writes them says where. A mask without a
category is an OBJECT. Empty masks are left out where a format has no place for them, which is everywhere but in SA-1B
and PNG. docs/guides/mask-formats.md says what each format keeps, and what it loses.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from opensam.masks import area
from opensam.records.outlines import island_outlines, outline
from opensam.records.overlaps import label_map
from opensam.records.sa1b import ImageRecord, MaskRecord

OBJECT = "object"
"""The category of masks that have none."""

_LABELME = "5.5.0"  # the version that wrote a file, it says; LabelMe does not act on it
_MOST_LABELS = 2**16 - 1  # in a PNG of one channel

# The order of the keys in the published files of SA-1B.
_PUBLISHED = ("bbox", "area", "segmentation", "predicted_iou", "point_coords", "crop_box", "id", "stability_score")


def no_files(_records: Iterator[ImageRecord]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Nothing about all pictures together; the records are not read."""
    return iter(())


@dataclass(frozen=True)
class Format:
    """A way to write masks.

    Attributes:
        name: what a user types.
        description: one line of help.
        files: of the record and the stem of a picture (its path without the suffix, such as "farm/cow") the files about
            it: names, with "/" between folders, and contents.
        dataset: of the records of all pictures, the files about them together, each as name and pieces of its content.
            The records are read once, while the pieces are: take one file to its end before the next.
    """

    name: str
    description: str
    files: Callable[[ImageRecord, str], dict[str, bytes]]
    dataset: Callable[[Iterator[ImageRecord]], Iterator[tuple[str, Iterator[bytes]]]] = no_files


def sa1b_files(record: ImageRecord, stem: str) -> dict[str, bytes]:
    """STEM.json with keys in the order, and numbers of the types, that the published files of SA-1B have."""
    content = record.to_dict()
    content["annotations"] = [_published(annotation) for annotation in content["annotations"]]
    return {f"{stem}.json": _json(content)}


def coco_files(record: ImageRecord, stem: str) -> dict[str, bytes]:
    """STEM.json, a COCO file about this one picture."""
    return {f"{stem}.json": b"".join(_coco(iter([record])))}


def coco_dataset(
    records: Iterator[ImageRecord], categories: Sequence[str] = ()
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """instances.json: pictures and masks numbered from 1 in the order they come, categories as they first appear.

    What is in memory does not grow with the records: the list of the pictures waits in a temporary file.

    Args:
        records: of all pictures.
        categories: come first, in this order, whether or not a mask has them.
    """
    yield "instances.json", _coco(records, categories)


def labelme_files(record: ImageRecord, stem: str) -> dict[str, bytes]:
    """STEM.json as LabelMe writes it, to lie beside the picture: a polygon for each island of a mask.

    The polygons of one mask have one `group_id`, its number from 0 in the record. LabelMe knows no holes: each hangs on
    the outline around it by a bridge.
    """
    shapes: list[dict[str, Any]] = [
        {
            "label": mask.category or OBJECT,
            "points": [[float(px + x), float(py + y)] for px, py in points.tolist()],
            "group_id": number,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for number, mask in enumerate(record.annotations)
        for x, y, inside in [mask.cutout()]
        for points in (island_outlines(inside) if inside.size else [])
    ]
    content: dict[str, Any] = {
        "version": _LABELME,
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(record.image.file_name).name,
        "imageData": None,
        "imageHeight": record.image.height,
        "imageWidth": record.image.width,
    }
    return {f"{stem}.json": json.dumps(content, ensure_ascii=False, indent=2).encode()}


def png_files(record: ImageRecord, stem: str) -> dict[str, bytes]:
    """STEM/0.png, STEM/1.png, ...: one image per mask, 255 inside and 0 outside, numbered as in the record."""
    return {
        f"{stem}/{number}.png": _png(mask.mask.view(np.uint8) * np.uint8(255))
        for number, mask in enumerate(record.annotations)
    }


def labelmap_files(record: ImageRecord, stem: str) -> dict[str, bytes]:
    """STEM.png by `opensam.records.overlaps.label_map`, of 16 bits where there are more than 255 masks.

    Raises:
        ValueError: more masks than 16 bits can number.
    """
    if len(record.annotations) > _MOST_LABELS:
        raise ValueError(
            f"expected at most {_MOST_LABELS} masks for a label map, got {len(record.annotations)} in "
            f"{record.image.file_name}; write another format."
        )
    return {f"{stem}.png": _png(label_map(record))}


def yolo(categories: Sequence[str] = (OBJECT,)) -> Format:
    """The format of YOLO, with classes numbered from 0 in this order.

    `files` gives labels/STEM.txt, a line for each mask: its class and one polygon in shares of width and height, whose
    bridges of no width lead to islands and around holes; it raises ValueError for a category that is not listed.
    `dataset` gives data.yaml, which expects the pictures in images/.
    """
    numbers = {name: number for number, name in enumerate(categories)}

    def files(record: ImageRecord, stem: str) -> dict[str, bytes]:
        lines = [_yolo_line(mask, numbers) for mask in record.annotations]
        return {f"labels/{stem}.txt": "".join(lines).encode()}

    def dataset(_records: Iterator[ImageRecord]) -> Iterator[tuple[str, Iterator[bytes]]]:
        names = "".join(f"  {number}: {json.dumps(name)}\n" for name, number in numbers.items())
        yield "data.yaml", iter([f"path: .\ntrain: images\nval: images\nnames:\n{names}".encode()])

    return Format("yolo", "labels/NAME.txt and data.yaml: polygons in shares of width and height", files, dataset)


FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format("sa1b", "NAME.json: a record per picture, as SA-1B was published", sa1b_files),
        Format("coco", "instances.json for all pictures, and NAME.json for each", coco_files, coco_dataset),
        yolo(),
        Format("labelme", "NAME.json: polygons to edit in LabelMe, beside the pictures", labelme_files),
        Format("png", "NAME/0.png, NAME/1.png, ...: a black and white image per mask", png_files),
        Format("labelmap", "NAME.png: one image with a number per mask, small masks on top", labelmap_files),
    )
}
"""The formats by name. YOLO knows the one class OBJECT here; see `yolo` for others."""


def _published(annotation: dict[str, Any]) -> dict[str, Any]:
    floats = {
        "bbox": [float(side) for side in annotation["bbox"]],
        "point_coords": [[float(x), float(y)] for x, y in annotation["point_coords"]],
        "crop_box": [float(side) for side in annotation["crop_box"]],
    }
    return {key: annotation[key] for key in _PUBLISHED} | annotation | floats


def _coco(records: Iterator[ImageRecord], first: Sequence[str] = ()) -> Iterator[bytes]:
    """A COCO file in pieces: masks, then pictures, then categories, because each is known no sooner."""
    categories = {name: number for number, name in enumerate(first, start=1)}
    numbers = count(1)
    with TemporaryFile() as images:
        yield b'{"annotations":['
        comma = b""
        for image_id, record in enumerate(records, start=1):
            entry = {"id": image_id, **record.image.model_dump(include={"width", "height", "file_name"})}
            images.write((b"," if image_id > 1 else b"") + _json(entry))
            for mask in record.annotations:
                if pixels := area(mask.segmentation):
                    category = categories.setdefault(mask.category or OBJECT, len(categories) + 1)
                    yield comma + _json(_coco_annotation(mask, next(numbers), image_id, category, pixels))
                    comma = b","
        yield b'],"images":['
        images.seek(0)
        yield from iter(lambda: images.read(1 << 20), b"")
    listed = [{"id": number, "name": name} for name, number in (categories or {OBJECT: 1}).items()]
    yield b'],"categories":' + _json(listed) + b"}"


def _coco_annotation(mask: MaskRecord, number: int, image_id: int, category: int, pixels: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "iscrowd": 0,
        "area": pixels,
        "bbox": coco.toBbox(mask.segmentation).tolist(),
        "segmentation": mask.segmentation,
        "predicted_iou": mask.predicted_iou,
        "stability_score": mask.stability_score,
    }


def _yolo_line(mask: MaskRecord, numbers: dict[str, int]) -> str:
    category = mask.category or OBJECT
    if category not in numbers:
        raise ValueError(
            f"expected the category of mask {mask.id} among {list(numbers)}, got {category!r}; "
            "name all categories in opensam.records.formats.yolo."
        )
    x, y, inside = mask.cutout()
    if not inside.size:
        return ""
    height, width = mask.segmentation["size"]
    shares = np.add(outline(inside), (x, y)) / (width, height)
    return f"{numbers[category]} " + " ".join(f"{share:.6f}" for share in shares.ravel().tolist()) + "\n"


def _png(levels: NDArray[Any]) -> bytes:
    done, content = cv2.imencode(".png", levels)
    if not done:
        raise ValueError(f"expected levels that PNG can hold, got {levels.dtype} of shape {levels.shape}.")
    return content.tobytes()


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
