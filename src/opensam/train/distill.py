"""Distillation: a small image encoder learns what a large one says, then the whole model what the large one answers.

First the embeddings (MobileSAM, arXiv 2306.14289): the student's image embeddings are drawn to the teacher's, and the
teacher's decoder, which the student has a copy of, understands both. Then the masks (EdgeSAM, arXiv 2312.06660): the
student answers prompts, and is clicked where its answer differs from the teacher's.

Letters: B pictures, P prompts, S side of the student's square, (h, w) = (S / 16, S / 16), (G, G) the mask grid.
"""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from opensam.data.pictures import PictureSource
from opensam.data.samples import CELL, Batch
from opensam.files import replacing
from opensam.geometry import Resize
from opensam.image import Rgb
from opensam.models.prompt_encoder import EMBEDDING_STRIDE
from opensam.models.sam import Sam
from opensam.prompts import FOREGROUND, Prompts
from opensam.train.segment import SegmentStep, TrainConfig


class DistillConfig(TrainConfig):
    """One stage of distillation.

    Attributes:
        model: a name of `opensam models`: the architecture of the student's image encoder.
        target: what the student imitates: the teacher's "embeddings", of whole pictures as they are, or its "masks".
        prompts: what the teacher is asked in a stage of masks: boxes around the "masks" of labelled data, or random
            "points" of pictures without labels.
        truth: share of the masks of labelled data in what is learnt from, against the teacher's (EdgeSAM: none).
    """

    model: str = "mobile_sam"
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    decoder_dropout: float = Field(default=0.0, ge=0, lt=1)
    target: Literal["embeddings", "masks"] = "embeddings"
    prompts: Literal["masks", "points"] = "masks"
    truth: float = Field(default=0.0, ge=0, le=1)


class EmbeddingCache:
    """A teacher's image embeddings as files, float16: 2 MiB a picture for a square of 1024 (64 * 64 * 256 * 2).

    A file is found by the pixels of its picture and by the weights of the teacher, so runs and data sets may share a
    folder. What a power cut left of a file counts as missing.
    """

    def __init__(self, folder: Path, teacher: Sam) -> None:
        self.teacher = fingerprint(teacher)
        self.folder = folder / self.teacher
        side = teacher.image_size // EMBEDDING_STRIDE
        self.shape = (teacher.config.prompt_embed_dim, side, side)

    def read(self, key: str) -> Tensor | None:
        """The embedding (256, h, w) of the picture with this key, float16; None if there is none."""
        try:
            embedding = np.fromfile(self._path(key), np.float16)
        except FileNotFoundError:
            return None
        return torch.from_numpy(embedding).view(self.shape) if embedding.size == np.prod(self.shape) else None

    def write(self, key: str, embedding: Tensor) -> None:
        """Keep an embedding (256, h, w), float16."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            embedding.cpu().numpy().tofile(temporary)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.f16"  # a folder of a million files is slow


def fingerprint(sam: Sam) -> str:
    """Of everything that its image embeddings depend on: sizes and weights of the image encoder."""
    digest = hashlib.sha256(sam.config.image_encoder.model_dump_json().encode())
    for name, value in sam.image_encoder.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy())
    return digest.hexdigest()[:16]


class Lesson(NamedTuple):
    """B pictures and what is known of the teacher's embeddings of them.

    Attributes:
        images: (3, H, W) uint8 RGB each, scaled to the student's square.
        known: (256, h, w) float16 from the cache, or None.
        for_teacher: (3, H, W) uint8 RGB, scaled to the teacher's square, where the embedding is not known.
        keys: of the pictures in the cache.
        names: of the pictures.
    """

    images: list[Tensor]
    known: list[Tensor | None]
    for_teacher: list[Tensor | None]
    keys: list[str]
    names: list[str]


def make_lesson(
    source: PictureSource,
    count: int,
    image_size: int,
    teacher_size: int,
    cache: EmbeddingCache,
    rng: np.random.Generator,
) -> Lesson:
    """Draw `count` pictures, whole and as they are: each variation would need an embedding of its own."""
    lesson = Lesson([], [], [], [], [])
    for _ in range(count):
        name, rgb = source.draw(rng)
        key = hashlib.sha256(repr(rgb.shape).encode() + rgb.tobytes()).hexdigest()
        known = cache.read(key)
        lesson.images.append(scaled(rgb, image_size))
        lesson.known.append(known)
        lesson.for_teacher.append(None if known is not None else scaled(rgb, teacher_size))
        lesson.keys.append(key)
        lesson.names.append(name)
    return lesson


def scaled(rgb: Rgb, image_size: int) -> Tensor:
    """A picture (3, H, W) uint8 whose longest side fills the square."""
    height, width, _ = rgb.shape
    return torch.from_numpy(Resize((height, width), image_size).apply_image(rgb)).permute(2, 0, 1)


class EmbeddingStep(nn.Module):
    """Pictures to a loss: the mean squared error of the student's image embeddings."""

    def __init__(self, student: Sam, teacher: Sam, cache: EmbeddingCache, freeze_batch_norm: bool = False) -> None:
        """Pair a student with its teacher; the teacher and the rest of the student learn nothing.

        Args:
            student: its image encoder is trained.
            teacher: its square may have another side; then its embeddings are resampled to the student's grid.
            cache: where the teacher's embeddings are kept.
            freeze_batch_norm: see `TrainConfig`.
        """
        super().__init__()
        self.student, self.teacher, self.cache = student, teacher.requires_grad_(False), cache
        self.freeze_batch_norm = freeze_batch_norm
        student.prompt_encoder.requires_grad_(False)
        student.mask_decoder.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """As usual, but the teacher stays in eval mode, and frozen batch norms too."""
        super().train(mode)
        self.teacher.eval()
        if self.freeze_batch_norm:
            _freeze_batch_norm(self.student)
        return self

    def forward(
        self,
        batch: Lesson,
        shared: torch.Generator,  # noqa: ARG002
        generator: torch.Generator,  # noqa: ARG002
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and for the log `cosine`, the mean cosine similarity of the cells."""
        student = self.student
        pixels = torch.cat([student.preprocess(picture.to(student.device)) for picture in batch.images])
        embeddings = student.encode(pixels).float()
        wanted = torch.stack([self._wanted(batch, i) for i in range(len(batch.keys))]).to(embeddings)
        grid = (embeddings.shape[-2], embeddings.shape[-1])
        if wanted.shape[-2:] != grid:
            wanted = F.interpolate(wanted, grid, mode="bilinear", align_corners=False, antialias=True)
        inside = torch.stack([picture_cells(picture, EMBEDDING_STRIDE, grid) for picture in batch.images])
        inside = inside.to(embeddings.device)
        errors = (embeddings - wanted).square().mean(dim=1)
        cosines = F.cosine_similarity(embeddings.detach(), wanted, dim=1)
        return errors[inside].mean(), {"cosine": cosines[inside].mean()}

    @torch.no_grad()
    def _wanted(self, batch: Lesson, i: int) -> Tensor:
        """The teacher's embedding of picture i, through float16 whether it comes from the cache or not."""
        known, picture = batch.known[i], batch.for_teacher[i]
        if known is None and picture is not None:
            # One at a time, so that an embedding does not depend on which others were missing.
            known = self.teacher.encode(self.teacher.preprocess(picture.to(self.teacher.device)))[0].half()
            self.cache.write(batch.keys[i], known)
        if known is None:
            raise ValueError(f"expected an embedding or a picture for the teacher, got neither for {batch.names[i]}")
        return known.to(self.student.device)


class MaskStep(SegmentStep):
    """Promptable segmentation with a teacher's masks as truth; clicks go where the student's answer differs."""

    def __init__(self, student: Sam, teacher: Sam, config: DistillConfig) -> None:
        """Pair a student with its teacher, which sees what the student sees, scaled to its own square.

        Args:
            student: what is trained.
            teacher: learns nothing.
            config: the interaction, the loss, and what the teacher is asked.
        """
        super().__init__(student, config.segment, config.freeze_batch_norm)
        self.teacher = teacher.requires_grad_(False)
        self.prompts, self.truth = config.prompts, config.truth

    def train(self, mode: bool = True) -> Self:
        """As usual, but the teacher stays in eval mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def run_rounds(
        self, batch: Batch, rounds: list[bool], generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of all rounds, see `SegmentStep`; the IoU in the facts are those with the teacher's masks."""
        return super().run_rounds(self.answered(batch), rounds, generator)

    @torch.no_grad()
    def answered(self, batch: Batch) -> Batch:
        """The batch with the teacher's masks (probabilities) in the place of its own, where the teacher sees any.

        It is asked with the box of each mask; or, of `point_batch`, with the point, and then its best mask counts.
        """
        student, teacher = self.sam, self.teacher
        device, scale = student.device, teacher.image_size / student.image_size
        pictures = [_resample(picture.to(device)[None].float(), scale, teacher.image_size) for picture in batch.images]
        embeddings = teacher.encode(torch.cat([teacher.preprocess(picture) for picture in pictures]))
        masks, boxes, index = batch.masks.to(device), batch.boxes.to(device), batch.image_index.to(device)
        if self.prompts == "points":
            points = ((boxes[:, :2] + boxes[:, 2:]) / 2 * scale)[:, None]
            labels = torch.full((len(points), 1), FOREGROUND, device=device)
            asked = Prompts(point_coords=points, point_labels=labels, image_index=index)
        else:
            asked = Prompts(boxes=boxes * scale, image_index=index)
        logits, predicted = teacher.decode(embeddings, asked, multimask_output=self.prompts == "points")
        best = logits.float()[torch.arange(len(masks), device=device), predicted.float().argmax(dim=1)][:, None]
        grid, side = (student.image_size // CELL,) * 2, masks.shape[-1]
        if best.shape[-2:] != grid:
            best = F.interpolate(best, grid, mode="bilinear", align_corners=False, antialias=True)
        inside = torch.stack([picture_cells(picture, CELL, (side, side)) for picture in batch.images]).to(device)
        answers = best[:, 0, :side, :side].sigmoid() * inside[index]
        seen = (answers > 0.5).flatten(1).any(dim=1)[:, None, None]
        if self.prompts == "points":
            answers = torch.where(seen, answers, masks)
            return batch._replace(masks=answers, boxes=_boxes(answers > 0.5))
        return batch._replace(masks=torch.where(seen, answers.lerp(masks, self.truth), masks))


def point_batch(source: PictureSource, count: int, image_size: int, points: int, rng: np.random.Generator) -> Batch:
    """Pictures without labels as a batch, whole: a mask is one random cell, for `MaskStep` to ask about."""
    images = [scaled(source.draw(rng)[1], image_size) for _ in range(count)]
    masks = torch.zeros(count * points, image_size // CELL, image_size // CELL)
    for row, mask in enumerate(masks):
        _, height, width = images[row // points].shape
        mask[rng.integers(-(-height // CELL)), rng.integers(-(-width // CELL))] = 1
    return Batch(images, masks, _boxes(masks > 0.5), torch.arange(count).repeat_interleave(points))


def picture_cells(picture: Tensor, stride: int, grid: tuple[int, int]) -> Tensor:
    """Which cells (h, w) of a square, `stride` pixels wide, show a part of the picture (3, H, W): not padding alone."""
    inside = torch.zeros(grid, dtype=torch.bool)
    inside[: -(-picture.shape[-2] // stride), : -(-picture.shape[-1] // stride)] = True
    return inside


def _boxes(masks: Tensor) -> Tensor:
    """Tight boxes (P, 4) XYXY in pixels of masks (P, G, G), none of them empty."""
    columns, rows = masks.any(dim=1).byte(), masks.any(dim=2).byte()
    first = [each.argmax(dim=1) for each in (columns, rows)]
    last = [each.shape[1] - 1 - each.flip(1).argmax(dim=1) for each in (columns, rows)]
    return torch.stack([*(cell * CELL for cell in first), *(cell * CELL + CELL - 1 for cell in last)], dim=1).float()


def _resample(picture: Tensor, scale: float, most: int) -> Tensor:
    """A picture (1, 3, H, W) at another scale, at most so many pixels on a side."""
    if scale == 1:
        return picture
    size = [min(most, max(1, round(side * scale))) for side in picture.shape[-2:]]
    return F.interpolate(picture, size, mode="bilinear", align_corners=False, antialias=True)


def _freeze_batch_norm(sam: Sam) -> None:
    for module in sam.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
