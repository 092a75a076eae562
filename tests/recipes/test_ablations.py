"""Families of runs that differ in one thing."""

import json
from pathlib import Path
from typing import Any

import pytest

from opensam.models.checkpoints import read
from opensam.recipes import ablations
from opensam.recipes.ablations import ABLATIONS, Arm, Inputs, base, result, run
from opensam.recipes.promptable import new_model
from opensam.train.loop import TrainingError
from opensam.train.segment import TrainConfig

SIZES = '{"kind":"tiny_vit","embed_dims":[8,8,16,16],"depths":[1,1,1,1],"num_heads":[1,1,1,1]}'
SMALL = [
    *("image_size=64", "crop_size=64", "batch_size=1", "masks_per_image=2", "steps=2", "log_every=1"),
    *("precision=32-true", f"encoder={SIZES}"),
]
INPUTS = Inputs(["synthetic:5"], ["synthetic:5:1"])


def differences(one: TrainConfig, other: TrainConfig) -> set[str]:
    a, b = (
        config.model_dump(exclude={"segment"}) | {f"segment.{k}": v for k, v in config.segment.model_dump().items()}
        for config in (one, other)
    )
    return {key for key in a if a[key] != b[key]}


ALLOWED = {
    "data": {"data_share"},
    "encoder": {"encoder"},
    "prompts": {"segment.box_probability"},
    "rounds": {"segment.clicks", "segment.mask_rounds"},
    "init": set(),
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_arms_differ_from_the_base_in_one_thing_and_share_its_seed(name: str) -> None:
    arms = ABLATIONS[name](base())
    assert len({arm.name for arm in arms}) == len(arms) > 1
    assert len({(arm.config.model_dump_json(), arm.pretrained) for arm in arms}) == len(arms)
    for arm in arms:
        assert differences(arm.config, base()) <= ALLOWED[name]


def test_rounds_are_as_many_as_the_arm_is_called() -> None:
    for arm in ABLATIONS["rounds"](base()):
        assert 1 + arm.config.segment.clicks + arm.config.segment.mask_rounds == int(arm.name)


def test_encoders_grow() -> None:
    sizes = [
        sum(p.numel() for p in new_model(arm.config).image_encoder.parameters())
        for arm in ABLATIONS["encoder"](base().with_overrides(["image_size=64", "crop_size=64"]))
    ]
    assert sizes == sorted(sizes)
    assert 5e6 < sizes[1] < 7e6


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    """A base of two tiny steps, validated on two pictures."""
    monkeypatch.setattr("opensam.recipes.validation.PICTURES", 2)
    return base().with_overrides(SMALL)


def test_arms_run_once_and_the_table_has_a_row_for_each(
    quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = [arm for arm in ABLATIONS["prompts"](quick) if arm.name != "both"]
    started: list[str] = []
    tables: list[int] = []
    rows = run(arms, INPUTS, tmp_path, lambda arm, _: started.append(arm), lambda rows: tables.append(len(rows)))
    assert [row["arm"] for row in rows] == ["points", "boxes"]
    assert list(rows[0]) == ["arm", "box", "point", "oracle", "last", "images/s", "minutes"]
    assert dict.fromkeys(started) == {"points": None, "boxes": None}
    assert tables == [1, 2]
    assert read(tmp_path / "boxes/stage-1/model.safetensors").config.image_encoder.embed_dims == (8, 8, 16, 16)

    def refuse(*_: Any) -> None:
        raise AssertionError("an arm that has finished was run again")

    monkeypatch.setattr(ablations.promptable, "train", refuse)
    assert run(arms, INPUTS, tmp_path, refuse, lambda _: None) == rows
    with pytest.raises(ValueError, match="batch_size=1"):
        run([Arm("points", arms[0].config.with_overrides(["batch_size=2"]))], INPUTS, tmp_path, refuse, refuse)
    with pytest.raises(TrainingError, match="val"):
        run(arms, Inputs(INPUTS.data, ["synthetic:6:1"]), tmp_path, refuse, refuse)


def test_speed_is_the_median_of_the_log_and_minutes_follow_from_it(tmp_path: Path) -> None:
    (tmp_path / "validation.csv").write_text(
        "step,box_iou,point_iou,point_oracle_iou,last_iou\n5,0,0,0,0\n20,0.4,0.3,0.35,0.5\n"
    )
    (tmp_path / "log.csv").write_text("step,images_per_second\n10,2\n20,1\n30,0.01\n")
    config = base().with_overrides(["batch_size=3", "steps=30"])
    expected = {"box": 0.4, "point": 0.3, "oracle": 0.35, "last": 0.5, "images/s": 1, "minutes": 1.5}
    assert result(tmp_path, config) == pytest.approx(expected)


def test_what_is_missing_is_said_before_the_first_arm_runs(tmp_path: Path) -> None:
    def nothing(*_: Any) -> None:
        raise AssertionError

    with pytest.raises(ValueError, match="--val"):
        run(ABLATIONS["data"](base()), Inputs(["synthetic"], []), tmp_path, nothing, nothing)
    with pytest.raises(ValueError, match="--init"):
        run(ABLATIONS["init"](base()), INPUTS, tmp_path, nothing, nothing)


def test_only_the_pretrained_arm_gets_the_weights(
    quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def remember(stages: Any, data: Any, folder: Path, on_progress: Any, init: Any, val: Any) -> None:
        given.append(init)
        (folder / "stage-1").mkdir(parents=True)
        (folder / "stage-1" / "run.json").write_text(json.dumps({}))

    monkeypatch.setattr(ablations.promptable, "train", remember)
    monkeypatch.setattr(ablations, "result", lambda *_: {})
    weights = tmp_path / "weights.safetensors"
    run(ABLATIONS["init"](quick), Inputs(["a"], ["b"], weights), tmp_path, lambda *_: None, lambda _: None)
    assert given == [None, weights]
