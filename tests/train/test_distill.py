"""Distillation: what the student is shown and told, and that the teacher stays what it was."""

import io
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.data.layouts import write
from torch import Tensor

import opensam
from opensam.data.pictures import PictureSource
from opensam.data.specs import open_pictures
from opensam.models import zoo
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.recipes import distillation
from opensam.train.distill import (
    DistillConfig,
    EmbeddingCache,
    EmbeddingStep,
    Lesson,
    MaskStep,
    make_lesson,
    point_batch,
)
from opensam.train.loop import Progress
from opensam.train.optim import OptimConfig
from opensam.train.segment import SegmentConfig

SIDE = 64
CONFIG = DistillConfig(
    image_size=SIDE,
    batch_size=2,
    steps=10,
    precision="32-true",
    log_every=1,
    optim=OptimConfig(lr=2e-3, schedule="cosine", warmup=2, layer_decay=1.0, ema=0.5),
)
MASKS = CONFIG.with_overrides(["target=masks", "prompts=points", "masks_per_image=2", "steps=2"]).model_copy(
    update={"segment": SegmentConfig(clicks=1, mask_rounds=0, mask_loss="cross_entropy")}
)


SMALL = TinyViTConfig(embed_dims=(16, 32, 64, 64), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))


@pytest.fixture(autouse=True)
def _small_students(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(zoo.find("mobile_sam"), config=SamConfig(image_encoder=SMALL))
    monkeypatch.setattr(zoo, "MODELS", (row,))


def model(seed: int, image_size: int = SIDE) -> Sam:
    torch.manual_seed(seed)
    encoder = SMALL.model_copy(update={"image_size": image_size})
    sam = Sam(SamConfig(image_encoder=encoder, decoder_mlp_dim=128), f"teacher {seed}").eval()
    with torch.no_grad():
        for mlp in sam.mask_decoder.output_hypernetworks_mlps:
            list(mlp.parameters())[-2].mul_(300)  # spread the logits as training does
    return sam


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four wide pictures of noise in blocks."""
    rng = np.random.default_rng(0)
    files: dict[str, bytes | str | np.ndarray] = {}
    for n in range(4):
        blocks = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks.repeat(10, 0).repeat(10, 1)).save(stream, "PNG")
        files[f"{n}.png"] = stream.getvalue()
    return write(tmp_path / "photos", files)


@pytest.fixture
def source(photos: Path) -> PictureSource:
    return PictureSource(open_pictures([str(photos)]))


def lesson_of(source: PictureSource, cache: EmbeddingCache, teacher_size: int = SIDE) -> Lesson:
    return make_lesson(source, 2, SIDE, teacher_size, cache, np.random.default_rng(1))


def loss_of(step: EmbeddingStep | MaskStep, batch: object) -> tuple[Tensor, dict[str, Tensor]]:
    return step(batch, torch.Generator().manual_seed(0), torch.Generator().manual_seed(0))


def test_an_embedding_from_the_cache_is_the_one_that_was_computed(source: PictureSource, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "cache", model(0))
    first = lesson_of(source, cache)
    assert first.known == [None, None]
    step = EmbeddingStep(model(1), model(0), cache).eval()
    fresh = loss_of(step, first)[0]
    again = lesson_of(source, cache)
    assert again.for_teacher == [None, None]
    assert loss_of(step, again)[0] == fresh
    files = [path for path in cache.folder.rglob("*") if path.is_file()]
    assert {path.stat().st_size for path in files} == {256 * 4 * 4 * 2}


def test_another_teacher_and_half_a_file_are_not_in_the_cache(source: PictureSource, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, model(0))
    loss_of(EmbeddingStep(model(1), model(0), cache), lesson_of(source, cache))
    assert None not in lesson_of(source, cache).known
    other = EmbeddingCache(tmp_path, model(2))
    assert lesson_of(source, other).known == [None, None]
    for path in cache.folder.rglob("*.f16"):
        path.write_bytes(path.read_bytes()[:100])
    assert lesson_of(source, cache).known == [None, None]


def test_a_student_that_is_its_teacher_has_nothing_to_learn(source: PictureSource, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, model(0))
    loss, facts = loss_of(EmbeddingStep(model(0), model(0), cache).eval(), lesson_of(source, cache))
    assert loss.item() == pytest.approx(0, abs=1e-6), "what float16 rounds away"
    assert facts["cosine"].item() == pytest.approx(1, abs=1e-5)


def test_cells_of_padding_are_not_compared(source: PictureSource, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, model(0))
    step, lesson = EmbeddingStep(model(1), model(0), cache).eval(), lesson_of(source, cache)
    before = loss_of(step, lesson)[0]
    # Pictures of 5 : 8 reach 40 pixels down, into the third of four rows.
    for row, same in ((3, True), (2, False)):
        known = []
        for embedding in lesson_of(source, cache).known:
            assert embedding is not None
            embedding[:, row] += 1
            known.append(embedding)
        assert (loss_of(step, lesson._replace(known=known))[0] == before) == same


def test_a_teacher_of_another_square_is_resampled(source: PictureSource, tmp_path: Path) -> None:
    teacher = model(0, 2 * SIDE)
    cache = EmbeddingCache(tmp_path, teacher)
    lesson = lesson_of(source, cache, 2 * SIDE)
    assert lesson.for_teacher[0] is not None
    assert lesson.for_teacher[0].shape == (3, 80, 128)
    step = EmbeddingStep(model(1), teacher, cache).eval()
    flat = [torch.full(cache.shape, 2.0).half() for _ in lesson.keys]
    embeddings = step.student.encode(torch.cat([step.student.preprocess(image) for image in lesson.images]))
    expected = (embeddings[:, :, :3] - 2).square().mean()
    assert loss_of(step, lesson._replace(known=flat))[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_teacher_is_asked_about_points_and_its_masks_are_learnt(source: PictureSource) -> None:
    teacher = model(0)
    step = MaskStep(model(1), teacher, MASKS)
    step.train()
    assert not teacher.training
    batch = point_batch(source, 2, SIDE, 3, np.random.default_rng(0))
    assert batch.masks.sum() == 6, "one cell each"
    answered = step.answered(batch)
    assert (answered.masks[:, 10:] == 0).all(), "no mask reaches into the padding"
    assert ((answered.masks > 0) & (answered.masks < 1)).any(), "probabilities, not decisions"
    for mask, box in zip(answered.masks > 0.5, answered.boxes, strict=True):
        ys, xs = mask.nonzero().T
        assert (box == torch.stack([xs.min(), ys.min(), xs.max(), ys.max()]) * 4 + torch.tensor([0, 0, 3, 3])).all()


def test_with_labels_the_truth_may_have_its_share(source: PictureSource) -> None:
    batch = point_batch(source, 2, SIDE, 3, np.random.default_rng(0))
    labelled = batch._replace(boxes=torch.tensor([[8.0, 8.0, 50.0, 30.0]]).repeat(6, 1))
    masks = []
    for truth in (0.0, 0.25, 1.0):
        config = MASKS.with_overrides(["prompts=masks", f"truth={truth}"])
        masks.append(MaskStep(model(1), model(0), config).answered(labelled).masks)
    assert torch.equal(masks[2], batch.masks)
    assert not torch.equal(masks[0], batch.masks)
    torch.testing.assert_close(masks[1], 0.75 * masks[0] + 0.25 * masks[2])


def run(photos: Path, folder: Path, stages: list[DistillConfig], stop: int = 0) -> tuple[list[float], Sam]:
    class KilledError(Exception):
        pass

    losses: list[float] = []

    def note(progress: Progress) -> None:
        losses.append(progress.facts["loss"])
        if progress.step == stop:
            raise KilledError

    teacher = model(0)
    with suppress(KilledError):
        distillation.distill(stages, teacher, [str(photos)], folder, note, val=[str(photos)])
    return losses, teacher


def test_a_student_comes_closer_to_its_teacher_which_stays_the_same(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "MEASURED", 2)
    losses, teacher = run(photos, tmp_path / "run", [CONFIG.with_overrides(["steps=20"]), MASKS])
    assert np.mean(losses[15:20]) < 0.8 * np.mean(losses[:5])
    assert len(losses) == 22
    fresh = model(0).state_dict()
    assert all(torch.equal(value, fresh[key]) for key, value in teacher.state_dict().items())
    student = opensam.load(checkpoint=tmp_path / "run" / "stage-1" / "model.safetensors")
    decoder = student.mask_decoder.state_dict()
    assert all(torch.equal(value, fresh[f"mask_decoder.{key}"]) for key, value in decoder.items())
    assert student.config.image_encoder.kind == "tiny_vit"
    tuned = opensam.load(checkpoint=tmp_path / "run" / "stage-2" / "model.safetensors")
    before = student.state_dict()
    changed = {key.split(".")[0] for key, value in tuned.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"image_encoder", "prompt_encoder", "mask_decoder"}
    predictor = opensam.Predictor(tuned)
    prediction = predictor.predict(predictor.embed(photos / "0.png"), point_coords=[(40, 20)], point_labels=[1])
    assert prediction.masks.shape == (3, 50, 80)
    saved = torch.load(tmp_path / "run" / "stage-2" / "last.pt")
    assert saved["model"].keys() == tuned.state_dict().keys(), "no teacher in the checkpoint"


@pytest.mark.parametrize("config", [CONFIG.with_overrides(["steps=4"]), MASKS.with_overrides(["steps=4"])])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    photos: Path, tmp_path: Path, config: DistillConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation, "MEASURED", 1)
    config = config.with_overrides(["save_every=0"])
    whole, _ = run(photos, tmp_path / "whole", [config])
    run(photos, tmp_path / "cut", [config], stop=3)
    rest, _ = run(photos, tmp_path / "cut", [config])
    assert rest == whole[2:], "step 3 was lost with its checkpoint and is done again"
    with pytest.raises(ValueError, match="same teacher, got one with teacher 0 of other weights"):
        distillation.distill([config], model(2), [str(photos)], tmp_path / "cut", lambda progress: None)


def test_a_student_that_the_decoder_cannot_read_is_refused() -> None:
    torch.manual_seed(0)
    narrow = Sam(SamConfig(image_encoder=TinyViTConfig(image_size=SIDE, out_chans=128), prompt_embed_dim=128))
    with pytest.raises(ValueError, match=r"embeddings of 128 channels.*got mobile_sam with 256"):
        distillation.new_student(narrow, CONFIG)


def test_a_stage_of_masks_without_masks_says_so_before_anything_runs(photos: Path) -> None:
    with pytest.raises(ValueError, match="prompts=points"):
        distillation.open_lessons([str(photos)], [CONFIG, CONFIG.with_overrides(["target=masks"])])
