"""From the masks of overlapping tiles to those of the whole picture.

1. What one tile cuts and another one shows whole is left to the other.
2. Masks of two tiles that agree where the tiles overlap belong to one object. The surest links come first, of equally
   sure ones the larger masks. A link that would bring two masks of one tile together is refused: so a part does not
   join the whole around it, of which the overlap shows just as much.
3. An object becomes one mask: that of a tile which shows it whole (of several the one with the best predicted IoU),
   or else all of its masks together.

Boxes are XYXY, half open, in the frame of the whole picture; a tile is such a box.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from opensam.masks import area
from opensam.records import MaskRecord, Number
from opensam.rle import Rle, crop_rle, place_rle, rle_iou, rle_to_box, rle_union

Box = tuple[int, int, int, int]

_GRID = 256  # cells along a side of the decoder's logits (paper, A): an edge is not known better than one cell
_CELL = 1024  # pixels; any side will do for finding masks near each other


@dataclass(frozen=True, eq=False)
class _Piece:
    """What one tile shows of an object.

    Attributes:
        record: in the frame of the tile.
        tile: its place in the list of tiles.
        box: of the mask.
    """

    record: MaskRecord
    tile: int
    box: Box


def stitch(
    found: Iterable[tuple[Box, Sequence[MaskRecord]]], size: tuple[int, int], merge_iou: float
) -> list[MaskRecord]:
    """Put the masks of tiles together.

    Args:
        found: each tile, with its records in the frame of the tile. Empty masks are left out.
        size: (H, W) of the whole picture.
        merge_iou: masks are linked from this IoU on, inside the overlap of their tiles.

    Returns:
        Records in the frame of the picture, in the order of the tiles in which their objects first appear. Joined
        masks have the area-weighted means of predicted IoU and stability, all points, as `crop_box` the box around
        the crops of all, and whatever else a record has from the largest mask.
    """
    tiles: list[Box] = []
    pieces: list[_Piece] = []
    for tile, records in found:
        pieces += [_Piece(record, len(tiles), _box_in(tile, record)) for record in records if record.area]
        tiles.append(tile)
    cores = np.array([_core(tile, size) for tile in tiles])
    pieces = [piece for piece in pieces if _within(piece.box, cores[piece.tile]) or not _within(piece.box, cores).any()]
    links = _links(pieces, tiles, merge_iou)
    return [_joined(_best(members, cores), tiles, size) for members in _objects(pieces, links)]


def drop_duplicates(records: Sequence[MaskRecord], iou: float) -> list[MaskRecord]:
    """Without the masks that have this IoU or more with an earlier one that stays; in the same order."""
    kept: list[MaskRecord] = []
    cells: dict[tuple[int, int], list[int]] = {}  # what of `kept` meets each square of the picture
    for record in records:
        touched = list(_cells(record))
        near = sorted({number for cell in touched for number in cells.get(cell, ())})
        rivals = [kept[number].segmentation for number in near if _may_reach(iou, record, kept[number])]
        if rivals and rle_iou([record.segmentation], rivals).max() >= iou:
            continue
        for cell in touched:
            cells.setdefault(cell, []).append(len(kept))
        kept.append(record)
    return kept


def _box_in(tile: Box, record: MaskRecord) -> Box:
    x, y, width, height = (int(side) for side in record.bbox)
    return tile[0] + x, tile[1] + y, tile[0] + x + width, tile[1] + y + height


def _core(tile: Box, size: tuple[int, int]) -> Box:
    """The part of a tile inside which a mask is whole: away from all borders that are not those of the picture."""
    (x0, y0, x1, y1), (height, width) = tile, size
    margin = max(1, max(x1 - x0, y1 - y0) // _GRID)
    return (
        x0 + margin if x0 > 0 else 0,
        y0 + margin if y0 > 0 else 0,
        x1 - margin if x1 < width else width,
        y1 - margin if y1 < height else height,
    )


def _within(box: Box, cores: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a box lies inside each of (..., 4) cores."""
    signs = np.array([1, 1, -1, -1])
    return ((box - cores) * signs >= 0).all(axis=-1)


def _links(pieces: Sequence[_Piece], tiles: Sequence[Box], merge_iou: float) -> list[tuple[int, int]]:
    """Pairs of pieces that agree where their tiles overlap, the surest first."""
    of_tile: list[list[int]] = [[] for _ in tiles]
    for number, piece in enumerate(pieces):
        of_tile[piece.tile].append(number)
    found: list[tuple[float, int, int, int]] = []
    for first, second in combinations(range(len(tiles)), 2):
        window = _overlap(tiles[first], tiles[second])
        if window is None:
            continue
        left, right = (_parts(pieces, of_tile[tile], tiles[tile], window) for tile in (first, second))
        ious = rle_iou([part for _, part in left], [part for _, part in right])
        for row, column in np.argwhere(ious >= merge_iou).tolist():
            one, other = left[row][0], right[column][0]
            pixels = pieces[one].record.area + pieces[other].record.area
            found.append((-float(ious[row, column]), -pixels, one, other))
    return [(one, other) for _, _, one, other in sorted(found)]


def _overlap(box: Box, other: Box) -> Box | None:
    x0, y0, x1, y1 = (*map(max, box[:2], other[:2]), *map(min, box[2:], other[2:]))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _parts(pieces: Sequence[_Piece], numbers: Sequence[int], tile: Box, window: Box) -> list[tuple[int, Rle]]:
    """Of these pieces of a tile those that reach into a window, with their part of it."""
    parts = []
    for number in numbers:
        if _overlap(pieces[number].box, window):
            origin = (window[0] - tile[0], window[1] - tile[1])
            size = (window[3] - window[1], window[2] - window[0])
            part = crop_rle(pieces[number].record.segmentation, origin, size)
            if area(part):
                parts.append((number, part))
    return parts


def _objects(pieces: Sequence[_Piece], links: Iterable[tuple[int, int]]) -> list[list[_Piece]]:
    """The pieces of each object, following the links as far as no object has two pieces of one tile."""
    members = [[number] for number in range(len(pieces))]
    home = list(range(len(pieces)))  # the place in `members` where a piece is found
    for one, other in links:
        into, out = sorted((home[one], home[other]))
        if {pieces[number].tile for number in members[into]}.isdisjoint(pieces[number].tile for number in members[out]):
            for number in members[out]:
                home[number] = into
            members[into] += members[out]
            members[out] = []
    return [[pieces[number] for number in sorted(group)] for group in members if group]


def _best(members: Sequence[_Piece], cores: NDArray[np.int64]) -> Sequence[_Piece]:
    """Of the pieces of an object the one that shows all of it, if there is one; else all."""
    x0, y0 = (min(piece.box[side] for piece in members) for side in (0, 1))
    x1, y1 = (max(piece.box[side] for piece in members) for side in (2, 3))
    whole = [piece for piece in members if _within((x0, y0, x1, y1), cores[piece.tile])]
    return [max(whole, key=lambda piece: piece.record.predicted_iou)] if whole else members


def _joined(members: Sequence[_Piece], tiles: Sequence[Box], size: tuple[int, int]) -> MaskRecord:
    """One record for the pieces of an object, in the frame of the picture."""
    segmentation = rle_union([place_rle(one.record.segmentation, tiles[one.tile][:2], size) for one in members])
    x0, y0, x1, y1 = rle_to_box(segmentation).tolist()
    records = [piece.record for piece in members]
    weights = np.array([record.area for record in records]) / sum(record.area for record in records)
    crops = np.array([_crop(piece.record.crop_box, tiles[piece.tile]) for piece in members])
    (left, top), (right, bottom) = crops[:, :2].min(axis=0).tolist(), crops[:, 2:].max(axis=0).tolist()
    points = [[x + tiles[one.tile][0], y + tiles[one.tile][1]] for one in members for x, y in one.record.point_coords]
    return max(records, key=lambda record: record.area).model_copy(
        update={
            "segmentation": segmentation,
            "bbox": [float(side) for side in (x0, y0, x1 - x0 + 1, y1 - y0 + 1)],
            "area": area(segmentation),
            "point_coords": points,
            "predicted_iou": float(weights @ [record.predicted_iou for record in records]),
            "stability_score": float(weights @ [record.stability_score for record in records]),
            "crop_box": [left, top, right - left, bottom - top],
        }
    )


def _crop(crop_box: Sequence[Number], tile: Box) -> list[Number]:
    """An XYWH box in a tile as XYXY box in the picture."""
    x, y, width, height = crop_box
    return [tile[0] + x, tile[1] + y, tile[0] + x + width, tile[1] + y + height]


def _cells(record: MaskRecord) -> Iterator[tuple[int, int]]:
    """The squares of the picture that a mask's box meets."""
    x, y, width, height = (int(side) for side in record.bbox)
    for column in range(x // _CELL, (x + width - 1) // _CELL + 1):
        for row in range(y // _CELL, (y + height - 1) // _CELL + 1):
            yield column, row


def _may_reach(iou: float, record: MaskRecord, other: MaskRecord) -> bool:
    """Whether boxes and areas leave room for this IoU: the intersection is at most the smaller mask, and the boxes'."""
    (x, y, w, h), (other_x, other_y, other_w, other_h) = record.bbox, other.bbox
    width = min(x + w, other_x + other_w) - max(x, other_x)
    height = min(y + h, other_y + other_h) - max(y, other_y)
    most = min(record.area, other.area, max(width, 0) * max(height, 0))
    return most >= iou * (record.area + other.area - most)
