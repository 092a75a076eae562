"""A whole model as ONNX files: complete or not there, and the same model."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from opensam.export import graph
from opensam.export.encoder import encoder_part
from opensam.export.graph import write
from opensam.export.onnx import FILES, PARTS, convert, export_onnx, replacing_folder
from opensam.export.parity import official_points
from opensam.geometry import Resize
from opensam.models.sam import Sam, SamConfig
from opensam.models.tiny_vit import TinyViTConfig
from opensam.models.vit import ViTConfig
from opensam.prompts import Prompts

VIT = ViTConfig(embed_dim=16, depth=2, num_heads=2, global_attn_indexes=(1,), window_size=3, image_size=64)
TINY_VIT = TinyViTConfig(embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), image_size=64)
ENCODERS = {"vit": VIT, "tiny_vit": TINY_VIT}


def random_sam(encoder: ViTConfig | TinyViTConfig) -> Sam:
    torch.manual_seed(1)
    sam = Sam(SamConfig(image_encoder=encoder), "random").eval().requires_grad_(False)
    for parameter in sam.image_encoder.parameters():  # positions and biases begin as zeros, which hide mistakes
        parameter.add_(0.02 * torch.randn_like(parameter))
    return sam


def quiet() -> onnxruntime.SessionOptions:
    """Without its remark that it has no kernels of half precision to fold constants with."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return options


def zeros(session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """Inputs of the decoder: a click and its padding."""
    shapes = {
        one.name: [length if isinstance(length, int) else 2 for length in one.shape] for one in session.get_inputs()
    }
    given = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    return given | {"point_labels": np.array([[1, -1]], dtype=np.float32)}


@pytest.fixture(scope="module")
def sam():
    return random_sam(VIT)


@pytest.fixture(scope="module")
def exported(sam, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    return folder, export_onnx(sam, folder, ("fp16", "int8"))


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_encoder_embeds_pictures_of_any_shape_and_number_as_torch_does(kind, tmp_path):
    sam = random_sam(ENCODERS[kind])
    write(encoder_part(sam), tmp_path / "encoder.onnx", sam)
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"))
    for shape in ((1, 3, 64, 41), (2, 3, 17, 64), (3, 3, 64, 64)):
        image = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
        expected = sam.encode(sam.preprocess(torch.from_numpy(image)))
        np.testing.assert_allclose(session.run(None, {"image": image})[0], expected.numpy(), atol=1e-5)


def test_every_part_is_written_in_every_precision_with_a_report(exported):
    folder, found = exported
    ends = ("", "_fp16", "_int8")
    expected = {f"{part}{end}.onnx" for part in PARTS for end in ends} | {"parity.json", "parity.md"}
    assert {file.name for file in folder.iterdir()} == expected
    assert [one.precision for one in found] == ["float32", "fp16", "int8"]
    report = json.loads((folder / "parity.json").read_text())
    assert report["model"] == "random"
    assert report["results"][0]["mask_iou"] == found[0].mask_iou
    assert "| fp16 |" in (folder / "parity.md").read_text()


def test_float32_is_torch_and_half_precision_is_near(exported):
    exact, half, _ = exported[1]
    assert exact.embeddings < 1e-4
    assert exact.logits < 1e-3
    assert exact.mask_iou > 0.999
    assert 0 < exact.embeddings < half.embeddings < 0.1


def test_smaller_precisions_make_smaller_files(exported):
    exact, half, _ = exported[1]
    assert all(half.megabytes[part] < 0.7 * exact.megabytes[part] for part in PARTS)


def test_a_client_of_the_official_model_gets_the_masks_of_torch(sam, exported):
    """In arrays alone, as the notebook of the official code does it."""
    encoder, decoder = (onnxruntime.InferenceSession(str(exported[0] / f"{part}.onnx")) for part in PARTS[:2])
    picture = np.random.default_rng(2).integers(0, 256, (50, 90, 3), dtype=np.uint8)
    resize = Resize((50, 90), 64)
    image = resize.apply_image(picture).transpose(2, 0, 1)[None].astype(np.float32)
    click, box = np.array([[40.0, 20.0]]), np.array([10.0, 5.0, 60.0, 44.0])
    scale = np.array(resize.input_size[::-1]) / (90, 50)
    coords = np.concatenate([click, box.reshape(2, 2)])[None] * scale
    masks, scores, low_res_masks = decoder.run(
        None,
        {
            "image_embeddings": encoder.run(None, {"image": image})[0],
            "point_coords": coords.astype(np.float32),
            "point_labels": np.array([[1, 2, 3]], dtype=np.float32),
            "mask_input": np.zeros((1, 1, 16, 16), dtype=np.float32),
            "has_mask_input": np.zeros(1, dtype=np.float32),
            "orig_im_size": np.array(picture.shape[:2], dtype=np.float32),
        },
    )
    prompts = Prompts(
        point_coords=torch.from_numpy(click * scale)[None].float(),
        point_labels=torch.tensor([[1]]),
        boxes=torch.from_numpy(np.concatenate([box[:2] * scale, box[2:] * scale]))[None].float(),
    )
    expected, iou_predictions = sam.decode(sam.encode(sam.preprocess(torch.from_numpy(image))), prompts, True)
    np.testing.assert_allclose(low_res_masks[:, 1:], expected.numpy(), atol=1e-4)
    np.testing.assert_allclose(scores[:, 1:], iou_predictions.numpy(), atol=1e-5)
    np.testing.assert_allclose(masks[:, 1:], resize.restore_masks(expected).numpy(), atol=1e-3)
    assert masks.shape == (1, 4, 50, 90)


@pytest.mark.parametrize("end", ["", "_fp16", "_int8"])
def test_large_pictures_get_masks_of_their_size_in_every_precision(exported, end):
    """Sizes above 2048 have no room in half precision: 3001 rows would be 3000."""
    decoder = onnxruntime.InferenceSession(str(exported[0] / f"decoder{end}.onnx"), quiet())
    masks, _, _ = decoder.run(None, zeros(decoder) | {"orig_im_size": np.array([3001, 9], dtype=np.float32)})
    assert masks.shape == (1, 4, 3001, 9)


def test_half_precision_does_not_round_clicks(exported):
    """Between 32 and 64 its steps are 1/32 of a pixel: two clicks that are nearer would be one."""
    decoder = onnxruntime.InferenceSession(str(exported[0] / "decoder_fp16.onnx"), quiet())
    given = zeros(decoder) | {"orig_im_size": np.array([64, 64], dtype=np.float32)}
    clicks = (np.array([[[x, 40.0], [0, 0]]], dtype=np.float32) for x in (40.0, 40.012))
    first, second = (decoder.run(None, given | {"point_coords": click})[2] for click in clicks)
    assert np.abs(first - second).max() > 0


def test_the_official_decoder_is_of_a_version_that_the_official_demo_reads(exported):
    """onnxruntime-web 1.14, tried by hand: operators up to 18, files up to 8."""
    model = onnx.load(exported[0] / "decoder.onnx")
    assert model.ir_version <= 8
    assert [opset.version for opset in model.opset_import] == [18]


def test_weights_too_large_for_one_file_lie_beside_it(tmp_path, monkeypatch):
    sam = random_sam(VIT)
    monkeypatch.setattr(graph, "LARGEST_FILE", 1000)
    source = tmp_path / "encoder.onnx"
    write(encoder_part(sam), source, sam)
    assert {file.name for file in tmp_path.iterdir()} == {"encoder.onnx", "encoder.onnx.data"}
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1
    for variant in ("fp16", "int8"):
        convert(source, tmp_path / f"encoder_{variant}.onnx", variant)
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 41)).astype(np.float32)
    expected = sam.encode(sam.preprocess(torch.from_numpy(image))).numpy()
    for end, allowed in (("", 1e-5), ("_fp16", 0.1), ("_int8", 1)):
        session = onnxruntime.InferenceSession(str(tmp_path / f"encoder{end}.onnx"), quiet())
        np.testing.assert_allclose(session.run(None, {"image": image})[0], expected, atol=allowed)


def test_boxes_become_points_and_only_prompts_without_a_box_are_padded():
    point = {"point_coords": torch.ones(2, 1, 2), "point_labels": torch.ones(2, 1)}
    assert official_points(Prompts(**point))["point_labels"].tolist() == [[1, -1], [1, -1]]
    both = official_points(Prompts(**point, boxes=torch.tensor([[1.0, 2, 3, 4]]).repeat(2, 1)))
    assert both["point_labels"].tolist() == [[1, 2, 3]] * 2
    assert both["point_coords"][0].tolist() == [[1, 1], [1, 2], [3, 4]]


def test_graphs_that_are_not_the_model_are_refused(exported):
    with pytest.raises(
        ValueError, match=r"a difference of 0\.5 in logits where 0\.01 is rounding; nothing was written"
    ):
        replace(exported[1][0], logits=0.5).raise_if_far()
    with pytest.raises(ValueError, match="image embeddings"):
        replace(exported[1][0], embeddings=float("nan")).raise_if_far()


def test_what_the_halves_may_differ_by_is_said_in_masks(exported):
    assert exported[1][0].halves_mask_iou > 0.99
    replace(exported[1][0], halves=0.05).raise_if_far()
    with pytest.raises(ValueError, match="masks of the two halves"):
        replace(exported[1][0], halves_mask_iou=0.98).raise_if_far()


def test_metadata_says_which_model_it_is(exported):
    model = onnx.load(exported[0] / "encoder.onnx")
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert facts["model"] == "random"
    assert facts["image_size"] == "64"
    assert model.producer_name == "opensam"


def test_a_folder_with_other_files_is_left_alone(sam, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="expected a new folder or one of an earlier export"):
        export_onnx(sam, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_nothing_that_was_put_into_an_export_is_lost(tmp_path):
    (tmp_path / "parity.json").write_text("{}")
    (tmp_path / "thesis.txt").write_text("mine")
    with (
        pytest.raises(ValueError, match=r"with other files \(thesis\.txt\)"),
        replacing_folder(tmp_path, "parity.json", FILES),
    ):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_later_export_takes_the_place_of_an_earlier_one(tmp_path):
    for content in ("old", "new"):
        with replacing_folder(tmp_path / "model", "mark", {"mark"}) as temporary:
            (temporary / "mark").write_text(content)
    assert (tmp_path / "model" / "mark").read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_failed_export_leaves_the_earlier_one(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "mark").write_text("old")

    def fill_the_disk():
        with replacing_folder(folder, "mark", {"mark"}) as temporary:
            (temporary / "mark").write_text("new")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fill_the_disk()
    assert (folder / "mark").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_an_unknown_precision_is_said_before_anything_is_done(sam, tmp_path):
    with pytest.raises(ValueError, match="expected precisions of fp16, int8, got int4"):
        export_onnx(sam, tmp_path / "model", ["int4"])
    assert not list(tmp_path.iterdir())
