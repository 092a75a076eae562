"""Which pictures of data sets are used, and for what: those with masks, held-out ones, those of some categories."""

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from opensam.data.dataset import Dataset, Part
from opensam.data.samples import CELL
from opensam.files import replacing
from opensam.masks import area


class Subset(Part):
    """Some pictures of a data set whose masks were counted.

    Attributes:
        counts: the number of masks of each that can be used.
    """

    def __init__(self, dataset: Dataset, rows: Sequence[int], counts: Sequence[int]) -> None:
        super().__init__(dataset, tuple(rows))
        self.counts = tuple(counts)

    def where(self, wanted: Sequence[bool]) -> "Subset":
        """Those of its pictures for which this is true."""
        chosen = [i for i, want in enumerate(wanted) if want]
        return Subset(self.dataset, [self.rows[i] for i in chosen], [self.counts[i] for i in chosen])


def usable(dataset: Dataset, image_size: int, min_cells: float, skipped: dict[tuple[str, str], str]) -> Subset:
    """The pictures with masks that training can use; no picture is decoded.

    Args:
        dataset: all its masks are read.
        image_size: side of the square that the pictures are scaled into.
        min_cells: of the mask grid that a mask must cover there, as in `AugmentConfig`.
        skipped: gets the reason for every other picture, by (data set, name).
    """
    rows, counts = [], []
    for i in range(len(dataset)):
        try:
            sizes = [(area(mask), max(mask["size"])) for mask in dataset.masks(i)]
        except (ValueError, OSError) as error:
            skipped[dataset.name, dataset.key(i)] = str(error)
            continue
        count = sum(pixels * (image_size / side) ** 2 >= min_cells * CELL**2 for pixels, side in sizes if pixels)
        if count:
            rows.append(i)
            counts.append(count)
        else:
            reason = f"its masks cover less than {min_cells:g} cells of {CELL} pixels" if sizes else "it has no masks"
            skipped[dataset.name, dataset.key(i)] = reason
    return Subset(dataset, rows, counts)


def hold_out(subsets: Sequence[Subset], share: float) -> tuple[list[Subset], list[Subset]]:
    """Split pictures into those to learn from and those to measure on.

    Names decide, through a hash: the split is the same on every machine and for every seed, and pictures that are added
    later move few of the others.

    Args:
        subsets: of all of them together the share is taken; each has a name of its own.
        share: of the pictures that is held out; at least one is, and at least one is not.

    Raises:
        ValueError: there are not two pictures.
    """
    everything = [(_hash(subset.name, subset.key(i)), subset.name, i) for subset in subsets for i in range(len(subset))]
    if len(everything) < 2:
        raise ValueError(
            "expected at least two pictures with masks, one of them to be held out and measured, got "
            f"{len(everything)}; add pictures, or name held-out ones with --val"
        )
    count = min(max(1, round(share * len(everything))), len(everything) - 1)
    chosen = {(name, i) for _, name, i in sorted(everything)[:count]}
    sides = [[(subset.name, i) in chosen for i in range(len(subset))] for subset in subsets]
    rest = [subset.where([not held for held in side]) for subset, side in zip(subsets, sides, strict=True)]
    return rest, [subset.where(side) for subset, side in zip(subsets, sides, strict=True)]


def write_split(path: Path, train: Sequence[Dataset], held_out: Sequence[Dataset]) -> None:
    """Write which picture is on which side, as CSV.

    Raises:
        ValueError: the file is there already and says otherwise.
    """
    rows = [["part", "dataset", "name"]]
    for part, datasets in (("train", train), ("held out", held_out)):
        rows += [[part, dataset.name, dataset.key(i)] for dataset in datasets for i in range(len(dataset))]
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            if list(csv.reader(file)) != rows:
                raise ValueError(
                    f"expected the pictures that the run in {path.parent} began with ({path.name} lists them), got "
                    "others; restore them to resume it, or choose another --out"
                )
        return
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def evenly(count: int, limit: int) -> list[int]:
    """At most `limit` of the numbers below `count`, evenly spaced."""
    return [i * count // limit for i in range(limit)] if count > limit else list(range(count))


def keep_categories(annotations: Path, names: Sequence[str], out: Path) -> None:
    """Write a COCO file with the annotations of some categories only.

    Args:
        annotations: a COCO file; it is in memory meanwhile.
        names: of categories.
        out: where the other file goes.

    Raises:
        ValueError: no COCO file with categories, one that has none of that name, or no annotation of them.
    """
    try:
        content = json.loads(annotations.read_text(encoding="utf-8-sig"))
        ids = {str(category["name"]): category["id"] for category in content["categories"]}
        everything = content["annotations"]
        wanted = {ids[name] for name in names}
        content["annotations"] = [one for one in everything if one["category_id"] in wanted]
    except OSError as error:
        raise ValueError(f"cannot read {annotations}: {error.strerror}; check the path") from error
    except KeyError as error:
        if error.args[0] in names:
            known = ", ".join(_first(ids, 20))
            raise ValueError(f"expected a category of {annotations}, one of {known}, got {error.args[0]!r}") from error
        raise ValueError(f"expected a COCO file with categories in {annotations}, got none of {error}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"expected a COCO file with categories in {annotations}, got: {error}") from error
    if not content["annotations"]:
        raise ValueError(f"expected masks of {', '.join(names)} in {annotations}, got none; choose another category")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def _first(names: dict[str, object], count: int) -> Iterator[str]:
    yield from sorted(names)[:count]
    if len(names) > count:
        yield f"and {len(names) - count} more"


def _hash(dataset: str, name: str) -> str:
    return hashlib.sha256(f"{dataset}/{name}".encode()).hexdigest()
