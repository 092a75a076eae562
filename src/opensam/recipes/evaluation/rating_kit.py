"""A kit for rating masks: pictures and a page that works without a network, and the key to what each mask was.

Every object comes several times, in random places of one row of jobs: with the mask of each model, and with that of the
data set. The page does not know which is which (paper, appendix E); the key stays with whoever made the kit.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pydantic

from opensam.config import Config
from opensam.data.dataset import Dataset, Source
from opensam.data.specs import open_datasets
from opensam.eval.human import COLUMNS, MIN_AREA
from opensam.eval.runner import Progress
from opensam.files import replacing
from opensam.image import Rgb
from opensam.masks import Mask, area, decode_rle, deepest_point
from opensam.predictor import Predictor
from opensam.recipes.evaluation.rating_views import draw_views
from opensam.recipes.evaluation.session import ModelChoice

TRUTH = "data set"
"""The method whose masks are those of the data set."""
JPEG_QUALITY = 90


class KitConfig(Config):
    """What to show.

    Attributes:
        data: data sets as `opensam.data.specs` has them.
        per_dataset: objects of each (1000 in the paper, E); each is a job for every model and one for the data set.
        seed: of the choice and of the order.
        longest_side: larger pictures are scaled to this, in pixels, before a mask is predicted (2000 in the paper, E).
    """

    data: tuple[str, ...]
    per_dataset: int = pydantic.Field(100, ge=1)
    seed: int = 0
    longest_side: int = pydantic.Field(2000, ge=64)


@dataclass(frozen=True)
class Kit:
    """What was written: the page for raters, the key that they must not see, and how many jobs there are."""

    page: Path
    key: Path
    jobs: int


@dataclass(frozen=True)
class Job:
    """A mask to be rated, and its name on the page."""

    name: str
    dataset: str
    image: str
    mask: int
    method: str


def make_kit(config: KitConfig, choices: Sequence[ModelChoice], out: Path, report: Callable[[Progress], None]) -> Kit:
    """Write `page/`, for raters, and `key.csv`, which comes last but for the page itself: without both it is no kit.

    Args:
        config: what to show.
        choices: the models; of several with one name, the second is called NAME 2.
        out: a new folder.
        report: hears of each object that is done.

    Raises:
        ValueError: the folder is not empty, a data set has no mask that is large enough, or one cannot be read.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"expected a new or empty folder for the kit, got {out}; ratings belong to one kit only")
    datasets = [dataset for dataset, _ in open_datasets(config.data)]
    rng = np.random.default_rng(config.seed)
    drawn = [(dataset, row, mask) for dataset in datasets for row, mask in draw_masks(dataset, config.per_dataset, rng)]
    predictors = _named([choice.predictor() for choice in choices])
    names = iter(_names((len(predictors) + 1) * len(drawn), rng))
    pictures = out / "page" / "pictures"
    pictures.mkdir(parents=True)
    jobs: list[Job] = []
    for done, (dataset, row, mask) in enumerate(drawn, start=1):
        for method, views in _views(predictors, dataset.read(row), mask, config.longest_side):
            job = Job(next(names), dataset.name, dataset.key(row), mask, method)
            jobs.append(job)
            for view, image in views.items():
                _write(pictures / f"{job.name}_{view}.jpg", _jpeg(image))
        report(Progress("rating kit", dataset.name, done, len(drawn)))
    order = [jobs[number] for number in rng.permutation(len(jobs))]
    kit = Kit(out / "page" / "index.html", out / "key.csv", len(jobs))
    _write(kit.key, _key(order).encode())
    _write(kit.page, _page([job.name for job in order]).encode())
    return kit


def draw_masks(dataset: Dataset, count: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Random masks of at least 24^2 pixels, as (picture, mask) in the order of the data set.

    One of every picture before a second one of any: masks of one picture say less than those of several.

    Raises:
        ValueError: there is no such mask, or a picture's masks cannot be read.
    """
    drawn: list[tuple[int, int]] = []
    others: list[tuple[int, int, int]] = []  # with the round in which they come
    for row in rng.permutation(len(dataset)).tolist():
        if len(drawn) == count:
            break
        large = [number for number, mask in enumerate(dataset.masks(row)) if area(mask) >= MIN_AREA]
        if large:
            first, *rest = rng.permutation(large).tolist()
            drawn.append((row, first))
            others += [(turn, row, number) for turn, number in enumerate(rest)]
    if not drawn:
        raise ValueError(f"expected masks of at least {MIN_AREA} pixels in {dataset.name}, got none")
    by_turn = sorted(others, key=lambda other: other[0])
    return sorted([*drawn, *((row, number) for _, row, number in by_turn[: count - len(drawn)])])


def _views(
    predictors: dict[str, Predictor], source: Source, number: int, longest_side: int
) -> Iterator[tuple[str, dict[str, Rgb]]]:
    image, truth = source.rgb, decode_rle(source.masks[number])
    if truth.shape != image.shape[:2]:
        sizes = f"(H, W) = {truth.shape} as its masks are, got {image.shape[:2]}"
        raise ValueError(f"{source.dataset}/{source.name}: expected a picture of {sizes}; they belong to another one")
    image, truth = _smaller(image, truth, longest_side)
    point = deepest_point(truth)
    for method, predictor in predictors.items():
        answer = predictor.predict(predictor.embed(image), point_coords=[point], point_labels=[1])
        yield method, draw_views(image, answer.best.mask, point)
    yield TRUTH, draw_views(image, truth, point)


def _smaller(image: Rgb, mask: Mask, longest_side: int) -> tuple[Rgb, Mask]:
    scale = longest_side / max(mask.shape)
    if scale >= 1:
        return image, mask
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_AREA) > 0  # a thin mask does not vanish
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), small


def _named(predictors: Sequence[Predictor]) -> dict[str, Predictor]:
    found: dict[str, Predictor] = {}
    for predictor in predictors:
        name = predictor.sam.name
        same = sum(one.sam.name == name for one in found.values())
        found[f"{name} {same + 1}" if same else name] = predictor
    return found


def _names(count: int, rng: np.random.Generator) -> list[str]:
    """Names that say nothing, each another."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[rng.bytes(5).hex()] = None
    return list(found)


def _key(jobs: Sequence[Job]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["job", *COLUMNS[:4]])
    writer.writerows([job.name, job.dataset, job.image, job.mask, job.method] for job in jobs)
    return text.getvalue()


def _page(names: Sequence[str]) -> str:
    template = (resources.files("opensam.recipes.evaluation") / "rating_page.html").read_text(encoding="utf-8")
    # The first job's name tells one kit from another in a browser that has seen several.
    return template.replace("__KIT__", json.dumps({"id": names[0], "jobs": list(names)}))


def _jpeg(image: Rgb) -> bytes:
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)
