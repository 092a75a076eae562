"""What every evaluation shares: the model in each worker, the journal, the conditions in the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opensam.config import Config
from opensam.eval.facts import run_facts
from opensam.eval.journal import Journal
from opensam.eval.report import Report, write_report
from opensam.eval.runner import Item, Measured, Progress, Spread, Start, measure
from opensam.eval.segmenters import SamSegmenter
from opensam.files import digest_of
from opensam.models import zoo
from opensam.models.sam import Sam
from opensam.precision import Precision, resolve
from opensam.predictor import Predictor


class ModelChoice(Config):
    """A model as a user names it; every worker loads it for itself.

    Attributes:
        model: a name of the zoo; None: the embedded model, or what the checkpoint holds.
        checkpoint: weights of one's own.
        device: what torch calls it.
        precision: see `Predictor`.
        image_size: another side of the model's square, for models that allow it.
        cache_dir: of downloaded weights.
    """

    model: str | None = None
    checkpoint: Path | None = None
    device: str = "cpu"
    precision: Precision = "float32"
    image_size: int | None = None
    cache_dir: Path | None = None

    def load(self) -> Sam:
        """The plain model, in eval mode.

        Raises:
            ValueError: it cannot be had, or not at this size.
        """
        sam = zoo.load(self.model, checkpoint=self.checkpoint, device=self.device, cache_dir=self.cache_dir)
        return sam if self.image_size is None else at_image_size(sam, self.image_size)

    def predictor(self) -> Predictor:
        """The model as a predictor."""
        return Predictor(self.load(), self.precision)

    def fast(self) -> Sam:
        """The copy of the model that only predicts, in its precision."""
        return self.predictor().model

    def segmenter(self) -> SamSegmenter:
        """The model as a method that answers clicks and boxes."""
        return SamSegmenter(self.fast())

    def facts(self) -> dict[str, Any]:
        """Which model it is: its name, its weights, how it computes."""
        sam = self.load()
        return {
            "model": sam.name,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "weights": digest_of(self.checkpoint) if self.checkpoint else None,
            "image_size": sam.image_size,
            "precision": resolve(self.precision, self.device),
        }


def at_image_size(sam: Sam, image_size: int) -> Sam:
    """The same weights over a square of another size.

    Raises:
        ValueError: the image encoder is tied to its size, or the size does not suit it.
    """
    if image_size == sam.image_size:
        return sam
    encoder = sam.config.image_encoder
    if encoder.kind != "tiny_vit":
        raise ValueError(
            f"expected a TinyViT model with --image-size, got {sam.name}, whose position table fits "
            f"{sam.image_size} alone; leave --image-size out"
        )
    if image_size % 16:
        raise ValueError(f"expected --image-size as a multiple of 16, got {image_size}")
    resized = Sam(sam.config.with_overrides([f"image_encoder.image_size={image_size}"]), sam.name)
    resized.load_state_dict(sam.state_dict())
    return resized.to(sam.device).eval()


@dataclass(frozen=True)
class Setting:
    """Where an evaluation is kept and who does the work; no number depends on it.

    Attributes:
        out: folder of the report.
        spread: the workers.
        report: hears of the progress.
        workers: how many there are, for the report.
        skip_bad: pictures that cannot be used are listed, not an error.
        keep: what was measured stays on disk when the report is written.
    """

    out: Path
    spread: Spread
    report: Callable[[Progress], None]
    workers: int = 1
    skip_bad: bool = False
    keep: bool = False


class Session:
    """One evaluation under way: what it has measured survives an interruption.

    Args:
        setting: where and by whom.
        name: of the evaluation and its files.
        config: what is measured; written to the report.
        choice: the model, if there is one.
        seed: of what is random.

    Attributes:
        facts: the conditions, for the report.
    """

    def __init__(
        self, setting: Setting, name: str, config: Config, choice: ModelChoice | None = None, seed: int = 0
    ) -> None:
        self.setting, self.config = setting, config.model_dump(mode="json")
        model = choice.facts() if choice else {}
        self.facts = {**model, "workers": setting.workers, **run_facts(choice.device if choice else "cpu", seed)}
        wanted = {key: self.facts[key] for key in (*model, "commit", "versions", "seed")} | {"config": self.config}
        path = setting.out / f"{name}.partial.jsonl"
        if str(self.facts["commit"]).endswith("-dirty"):  # the code may have changed in between
            path.unlink(missing_ok=True)
        self.journal = Journal(path, wanted)
        self.skipped: dict[str, str] = {}

    def measure(self, method: str, items: Sequence[Item], start: Start) -> Measured:
        """Measure pictures; see `opensam.eval.runner.measure`."""
        measured = measure(
            items,
            start,
            method=method,
            spread=self.setting.spread,
            journal=self.journal,
            report=self.setting.report,
            skip_bad=self.setting.skip_bad,
        )
        self.skipped |= measured.skipped
        return measured

    def finish(self, report: Report) -> tuple[Path, Path]:
        """Write the report; the values of single pictures are deleted, unless the setting keeps them."""
        paths = write_report(self.setting.out, report)
        if not self.setting.keep:
            self.journal.delete()
        return paths
