"""Small data sets in every published layout: one builder for each kind, one row of `LAYOUTS` for each data set.

A builder writes two pictures with these masks and gives back, by the key of the picture, what a reader must find.
"""

import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.data.layouts import write

from opensam.masks import Mask, encode_rle

SIZE = (20, 30)
Truth = dict[str, list[Mask]]


def box(x0: int, y0: int, x1: int, y1: int) -> Mask:
    """A rectangle, both corners inside."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


DRAWN = [[box(1, 1, 8, 6), box(12, 3, 25, 17)], [box(4, 10, 20, 18)]]
"""The masks of the first and of the second picture, as rectangles that polygons can say exactly."""
CORNERS = [[(1, 1, 9, 7), (12, 3, 26, 18)], [(4, 10, 21, 19)]]
"""The same as polygons of COCO count them: corners of pixels."""


def outline(corners: tuple[int, int, int, int]) -> list[tuple[int, int]]:
    x0, y0, x1, y1 = corners
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def noise(suffix: str = ".png") -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, {".jpg": "JPEG", ".bmp": "BMP"}.get(suffix.lower(), "PNG"))
    return stream.getvalue()


def pictures(root: Path, files: tuple[str, str], others: tuple[str, ...] = ()) -> list[str]:
    """Write two pictures, and others that are not part of the data set; the keys of the two."""
    write(root, {file: noise(Path(file).suffix) for file in files + others})
    return [file.rsplit(".", 1)[0] for file in files]


def labelled(masks: list[Mask], values: tuple[int, ...] = (1, 2), dtype: Any = np.uint8) -> np.ndarray:
    """A label map with these values."""
    labels = np.zeros(SIZE, dtype=dtype)
    for mask, value in zip(masks, values, strict=False):
        labels[mask] = value
    return labels


def label_maps(
    root: Path,
    files: tuple[str, str],
    labels: tuple[str, str],
    values: tuple[int, ...] = (1, 2),
    extra: dict[int, Mask] | None = None,
    dtype: Any = np.uint8,
    others: tuple[str, ...] = (),
) -> Truth:
    """A label map beside each picture; `extra` values in it are no masks."""
    for place, masks in zip(labels, DRAWN, strict=True):
        drawn = labelled(masks, values, dtype)
        for value, mask in (extra or {}).items():
            drawn[mask] = value
        write(root, {place: drawn})
    return dict(zip(pictures(root, files, others), DRAWN, strict=True))


def colour_maps(root: Path, files: tuple[str, str], labels: tuple[str, str], others: tuple[str, ...] = ()) -> Truth:
    """A map of colours beside each picture."""
    for place, masks in zip(labels, DRAWN, strict=True):
        red = labelled(masks, (200, 40))
        write(root, {place: np.stack([red, red // 2, red * 0 + (red > 0)], axis=2)})
    return dict(zip(pictures(root, files, others), [masks[::-1] for masks in DRAWN], strict=True))


def parts(root: Path, files: tuple[str, str]) -> Truth:
    """ADE20K: a map of objects, and for the first picture two of parts."""
    keys = colour_maps(root, files, tuple(file.replace(".jpg", "_seg.png") for file in files))  # type: ignore[arg-type]
    stem = files[0].removesuffix(".jpg")
    smaller = [box(2, 2, 4, 4), box(3, 3, 4, 4)]
    for level, mask in enumerate(smaller, start=1):
        write(root, {f"{stem}_parts_{level}.png": np.stack([labelled([mask], (10,))] * 3, axis=2)})
    return {**keys, stem: keys[stem] + smaller}


def single_masks(
    root: Path, files: tuple[str, str], labels: tuple[str, str], value: int = 255, band: int | None = None
) -> Truth:
    """One image with one mask beside each picture; a band of another value around it is not inside."""
    truth = [[masks[0]] for masks in DRAWN]
    for place, (mask,) in zip(labels, truth, strict=True):
        drawn = labelled([mask], (value,))
        if band is not None:
            drawn[0, :] = band
        write(root, {place: drawn})
    return dict(zip(pictures(root, files), truth, strict=True))


def mask_folders(root: Path, files: tuple[str, str], labels: tuple[str, str]) -> Truth:
    """A folder of images beside each picture, each with a mask."""
    for place, masks in zip(labels, DRAWN, strict=True):
        write(root, {f"{place}/{number}.png": labelled([mask], (255,)) for number, mask in enumerate(masks)})
    return dict(zip(pictures(root, files), DRAWN, strict=True))


def coco(
    root: Path,
    annotations: tuple[str, ...],
    images: str,
    names: tuple[str, ...],
    written: str = "{}",
) -> Truth:
    """COCO files: polygons of the first picture, run lengths of the second; of several files, each has one picture."""
    truth = {}
    for number, file in enumerate(annotations):
        content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "thing"}]}
        for row, name in list(enumerate(names))[number :: len(annotations)]:
            write(root, {f"{images}/{name}": noise(Path(name).suffix)})
            said = written.format(name)
            content["images"].append({"id": row, "file_name": said, "height": SIZE[0], "width": SIZE[1]})
            for mask, corners in zip(DRAWN[row % 2], CORNERS[row % 2], strict=True):
                segmentation = encode_rle(mask) if row % 2 else [np.ravel(outline(corners)).tolist()]
                content["annotations"].append({"image_id": row, "iscrowd": 0, "segmentation": segmentation})
            key = said.rsplit(".", 1)[0]
            truth[key if len(annotations) == 1 else f"{Path(file).stem}/{key}"] = DRAWN[row % 2]
        write(root, {file: json.dumps(content)})
    return truth


def via(root: Path, files: tuple[str, str], annotations: tuple[str, ...], regions: type) -> Truth:
    """VGG Image Annotator: one file for both pictures, or one each; regions as a list or, in old files, an object."""
    contents: dict[str, dict[str, Any]] = {file: {} for file in annotations}
    for number, (file, masks) in enumerate(zip(files, CORNERS, strict=True)):
        shapes = [
            {
                "shape_attributes": {
                    "name": "polygon",
                    "all_points_x": [x for x, _ in outline(corners)],
                    "all_points_y": [y for _, y in outline(corners)],
                },
                "region_attributes": {},
            }
            for corners in masks
        ]
        listed = shapes if regions is list else {str(i): shape for i, shape in enumerate(shapes)}
        name = Path(file).name
        contents[annotations[number % len(annotations)]][f"{name}1234"] = {"filename": name, "regions": listed}
        contents[annotations[0]]["empty.jpg5"] = {"filename": "empty.jpg", "regions": regions()}
    write(root, {file: json.dumps(content) for file, content in contents.items()})
    return dict(zip(pictures(root, files), DRAWN, strict=True))


def visor(root: Path) -> Truth:
    """VISOR: two videos, one frame each; the second mask has a part of its own."""
    truth = {}
    for number, video in enumerate(("P01_107", "P02_09")):
        name = f"{video}_frame_000000000{number}.jpg"
        segments: list[list[Any]] = [[outline(corners)] for corners in CORNERS[number]]
        masks = list(DRAWN[number])
        if number:
            segments[0].append(outline((25, 1, 29, 4)))
            masks[0] = masks[0] | box(25, 1, 28, 3)
        entry = {
            "image": {"name": name, "video": video, "subsequence": f"{video}_seq_1", "image_path": "x"},
            "annotations": [{"name": "hand", "segments": one} for one in segments] + [{"name": "gone", "segments": []}],
        }
        place = f"rgb_frames/val/{video[:3]}/{video}/{name}"
        write(root, {place: noise(".jpg"), f"annotations/val/{video}.json": json.dumps({"video_annotations": [entry]})})
        truth[place.removesuffix(".jpg")] = masks
    return truth


def woodscape(root: Path) -> Truth:
    """WoodScape: a JSON file for each picture."""
    keys = pictures(root, ("rgb_images/00000_FV.png", "rgb_images/00001_MVL.png"))
    for key, masks in zip(keys, CORNERS, strict=True):
        stem = Path(key).name
        listed = [{"tags": ["car"], "segmentation": outline(corners)} for corners in masks]
        entry = {"image_width": SIZE[1], "image_height": SIZE[0], "annotation": listed}
        write(root, {f"instance_annotations/{stem}.json": json.dumps({f"{stem}.json": entry})})
    return dict(zip(keys, DRAWN, strict=True))


def videos(root: Path) -> Truth:
    """OVIS: a video of three frames; nothing is seen in the last, one object in the second."""
    names = [f"ab12/img_000000{number}.jpg" for number in range(3)]
    write(root, {f"train/{name}": noise(".jpg") for name in names})
    first, second = DRAWN[0]

    def runs(mask: Mask) -> dict[str, Any]:
        flat = np.concatenate([[0], mask.T.ravel().astype(int), [0]])
        edges = np.flatnonzero(np.diff(flat))
        counts = np.diff([0, *edges, mask.size]).tolist()
        return {"size": list(SIZE), "counts": counts}

    content = {
        "info": {},
        "videos": [{"id": 7, "file_names": names, "height": SIZE[0], "width": SIZE[1], "length": 3}],
        "annotations": [
            {"id": 1, "video_id": 7, "iscrowd": 0, "segmentations": [runs(first), None, None]},
            {"id": 2, "video_id": 7, "iscrowd": 0, "segmentations": [encode_rle(second), runs(first), None]},
        ],
    }
    write(root, {"annotations_train.json": json.dumps(content)})
    return {"ab12/img_0000000": [first, second], "ab12/img_0000001": [first]}


def hypersim(root: Path) -> Truth:
    """Hypersim: HDF5 with -1 where nothing is; a volume that the paper leaves out."""
    import h5py

    places = ("ai_001_002/images/scene_cam_00", "ai_055_010/images/scene_cam_01", "ai_020_001/images/scene_cam_00")
    names = [f"{place}_final_preview/frame.0003.tonemap.jpg" for place in places]
    write(root, {name: noise(".jpg") for name in names})
    for place, masks in zip(places, [*DRAWN, DRAWN[0]], strict=True):
        path = root / f"{place}_geometry_hdf5/frame.0003.semantic_instance.hdf5"
        path.parent.mkdir(parents=True)
        labels = labelled(masks, (3, 900), np.int16)
        with h5py.File(path, "w") as file:
            file["dataset"] = np.where(labels > 0, labels, -1).astype(np.int16)
    return dict(zip([name.removesuffix(".jpg") for name in names[:2]], DRAWN, strict=True))


def sbd(root: Path) -> Truth:
    """SBD: `.mat` files and a list, which has not the third picture."""
    from scipy.io import savemat

    keys = pictures(root, ("img/2008_000002.jpg", "img/2008_000007.jpg"))
    write(root, {"val.txt": "2008_000007\n2008_000002\n", "img/2009_000001.jpg": noise(".jpg"), "inst/readme": ""})
    for key, masks in zip(keys, DRAWN, strict=True):
        content = {"GTinst": {"Segmentation": labelled(masks), "Boundaries": np.zeros(2), "Categories": np.ones(2)}}
        savemat(str(root / f"inst/{Path(key).name}.mat"), content)
    return dict(zip(keys, DRAWN, strict=True))


VOID = {255: box(0, 19, 29, 19)}
PLANTS = ("Plant/Ara2012/ara2012_plant001", "Plant/Tobacco/tobacco_plant003")
ISHAPE = ("antenna/val/{}/7", "wire/val/{}/7")
ADE = ("images/ADE/validation/urban/street/ADE_val_1.jpg", "images/ADE/validation/home/indoor/deep/ADE_val_2.jpg")
CITY = ("val/lindau/lindau_000001_000019", "val/munster/munster_000000_000019")
DRAM = ("expressionism/emil-nolde/1", "unseen/rococo/boucher/2")

LAYOUTS: dict[str, Callable[[Path], Truth]] = {
    "ppdls": partial(
        colour_maps,
        files=tuple(f"{p}_rgb.png" for p in PLANTS),
        labels=tuple(f"{p}_label.png" for p in PLANTS),
        others=("Plant/Ara2013-Canon/ara2013_plant001_rgb.png", "Plant/Ara2012/ara2012_plant001_fg.png"),
    ),
    "bbbc038v1": partial(
        mask_folders,
        files=("stage1_train/0ab/images/0ab.png", "stage1_train/f3/images/f3.png"),
        labels=("stage1_train/0ab/masks", "stage1_train/f3/masks"),
    ),
    "doors": partial(
        single_masks, files=("DS1/DS/img/1.png", "DS1/DS/img/2.png"), labels=("DS1/DS/mask/1.png", "DS1/DS/mask/2.png")
    ),
    "timberseg": partial(
        coco,
        annotations=("original/coco_annotation.json",),
        images="original/images",
        names=("0.png", "1.png"),
        written="images/{}",
    ),
    "ndd20": partial(
        via,
        files=("ABOVE/3.jpg", "BELOW/9.jpg"),
        annotations=("ABOVE_LABELS.json", "BELOW_LABELS.json"),
        regions=list,
    ),
    "lvis-v0.5": partial(
        coco,
        annotations=("lvis_v0.5_val.json",),
        images="val2017",
        names=("000000000139.jpg", "000000000285.jpg"),
        written="COCO_val2014_{}",
    ),
    "streets": partial(
        via,
        files=("images/a-1.jpg", "images/b-2.jpg"),
        annotations=("annotations/vehicle-annotations.json",),
        regions=dict,
    ),
    "zerowaste-f": partial(
        label_maps,
        files=("train/data/01_frame_1.PNG", "train/data/01_frame_2.PNG"),
        labels=("train/sem_seg/01_frame_1.PNG", "train/sem_seg/01_frame_2.PNG"),
        values=(2, 4),
    ),
    "ishape": partial(
        label_maps,
        files=tuple(f"{p}.jpg".format("image") for p in ISHAPE),
        labels=tuple(f"{p}.png".format("instance_map") for p in ISHAPE),
        values=(1001, 1002),
        dtype=np.uint16,
    ),
    "ade20k": partial(parts, files=ADE),
    "ovis": videos,
    "hypersim": hypersim,
    "ndispark": partial(
        coco, annotations=("train/train_coco_annotations.json",), images="train/imgs", names=("60_1.jpg", "64_2.jpg")
    ),
    "visor": visor,
    "plittersdorf": partial(
        coco, annotations=("train.json", "val.json", "test.json"), images="images", names=("a.jpg", "b.jpg", "c.jpg")
    ),
    "egohos": partial(
        label_maps,
        files=("train/image/ego4d_1.jpg", "train/image/thu_2.jpg"),
        labels=("train/label/ego4d_1.png", "train/label/thu_2.png"),
        values=(1, 5),
        others=("train/image/epic_3.jpg", "train/image/escape_4.jpg"),
    ),
    "ibd": partial(
        colour_maps, files=("train/1.png", "train/2.png"), labels=("train_labels/1.png", "train_labels/2.png")
    ),
    "woodscape": woodscape,
    "cityscapes": partial(
        label_maps,
        files=tuple(f"leftImg8bit/{place}_leftImg8bit.png" for place in CITY),
        labels=tuple(f"gtFine/{place}_gtFine_instanceIds.png" for place in CITY),
        values=(8, 26003),
        extra={3: box(0, 0, 29, 0), 26: box(27, 2, 29, 5), 29001: box(0, 19, 3, 19)},  # void, a crowd, a caravan
        dtype=np.uint16,
    ),
    "pidray": partial(
        coco,
        annotations=("annotations/xray_test_hard.json",),
        images="hard",
        names=("xray_00001.png", "xray_2.png"),
    ),
    "dram": partial(
        label_maps,
        files=tuple(f"test/{place}.jpg" for place in DRAM),
        labels=tuple(f"labels/{place}.png" for place in DRAM),
        values=(3, 15),
        extra=VOID,
    ),
    "trashcan": partial(
        coco,
        annotations=("instance_version/instances_train_trashcan.json",),
        images="instance_version/train",
        names=("vid_000002_frame0000011.jpg", "vid_000002_frame0000016.jpg"),
    ),
    "gtea": partial(
        colour_maps,
        files=("GTEA/Images/s2_tea_1.jpg", "GTEA/Images/s3_2.jpg"),
        labels=("GTEA/Masks/s2_tea_1.png", "GTEA/Masks/s3_2.png"),
    ),
    "grabcut": partial(
        single_masks,
        files=("data_GT/21077.jpg", "data_GT/banana1.bmp"),
        labels=("boundary_GT/21077.bmp", "boundary_GT/banana1.bmp"),
        band=128,
    ),
    "berkeley": partial(
        single_masks, files=("images/1.jpg", "images/2.jpg"), labels=("masks/1.png", "masks/2.png"), band=0
    ),
    "davis": partial(
        single_masks,
        files=("img/bear_00.jpg", "img/tennis_03.jpg"),
        labels=("gt/bear_00.png", "gt/tennis_03.png"),
        value=38,
    ),
    "sbd": sbd,
}
