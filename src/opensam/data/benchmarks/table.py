"""The data sets that the paper measures on, and those of interactive segmentation: where their files lie.

A row follows what is published: the folder is the one that the archive unpacks to, or the one above. Layouts were taken
from the READMEs and tools of the data sets and from public code that reads them; a `note` says where none was found.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from opensam.data.benchmarks.coco_files import Lvis05, coco
from opensam.data.benchmarks.labels import bright, hdf5, inside, panoptic, regions, sbd, woodscape
from opensam.data.benchmarks.outlines import via, visor
from opensam.data.benchmarks.paired import Paired
from opensam.data.benchmarks.videos import Videos
from opensam.data.dataset import Dataset

GUIDE = "docs/guides/benchmark-datasets.md"


@dataclass(frozen=True)
class Benchmark:
    """A data set whose layout is known.

    Attributes:
        title: what its authors call it.
        domain: what the pictures show (paper, table 7).
        url: where one gets it.
        paper: the pictures and masks that the paper measured (table 7); None: not in the paper.
        reader: opens it, from its name and its folder.
        top: the folder that the archive unpacks to.
        note: what is special about it.
    """

    title: str
    domain: str
    url: str
    paper: tuple[int, int] | None
    reader: Callable[[str, Path], Dataset]
    top: str = ""
    note: str = ""


BENCHMARKS: Mapping[str, Benchmark] = {
    "ppdls": Benchmark(
        "Plant Phenotyping Datasets, leaf segmentation",
        "plants",
        "https://www.plant-phenotyping.org/datasets-home",
        (182, 2347),
        # 120 pictures and 62: the paper's number, which Ara2013-Canon beside them would exceed.
        partial(
            Paired, pictures="Plant/*/*_rgb.png", labels="Plant/{0}/{1}_label.png", read=regions, only="Ara2012|Tobacco"
        ),
        top="Plant_Phenotyping_Datasets",
        note="Of the folders of `Plant/`, those whose pictures add up to the paper's: Ara2012 and Tobacco.",
    ),
    "bbbc038v1": Benchmark(
        "BBBC038v1 (Data Science Bowl 2018)",
        "microscopy",
        "https://bbbc.broadinstitute.org/BBBC038",
        (227, 10506),
        partial(Paired, pictures="stage1_train/*/images/*.png", labels="stage1_train/{0}/masks/*.png", read=inside),
    ),
    "doors": Benchmark(
        "DOORS, DS1",
        "boulders",
        "https://zenodo.org/record/7107409",
        (10000, 10000),
        partial(Paired, pictures="DS1/DS/img/*.png", labels="DS1/DS/mask/{0}.png", read=bright),
        top="Segmentation",
    ),
    "timberseg": Benchmark(
        "TimberSeg 1.0",
        "logs",
        "https://data.mendeley.com/datasets/y5npsm3gkj",
        (220, 2487),
        partial(coco, annotations="original/coco_annotation.json", images="original/images"),
        top="y5npsm3gkj-2",
        note="Whether the paper took `original/` or the smaller `prescaled/` is not published.",
    ),
    "ndd20": Benchmark(
        "Northumberland Dolphin Dataset 2020",
        "underwater",
        "https://doi.org/10.25405/data.ncl.c.4982342",
        (4402, 6100),
        partial(via, files={"ABOVE_LABELS.json": "ABOVE", "BELOW_LABELS.json": "BELOW"}),
        top="NDD20",
    ),
    "lvis-v0.5": Benchmark(
        "LVIS v0.5, validation",
        "scenes",
        "https://www.lvisdataset.org",
        (945, 9642),
        partial(coco, annotations="lvis_v0.5_val.json", images="val2017", reader=Lvis05),
        note="`val2017/` is that of COCO.",
    ),
    "streets": Benchmark(
        "STREETS",
        "traffic cameras",
        "https://databank.illinois.edu/datasets/IDB-3671567",
        (819, 9854),
        partial(via, files={"annotations/vehicle-annotations.json": "images"}),
        top="vehicleannotations",
    ),
    "zerowaste-f": Benchmark(
        "ZeroWaste-f, train",
        "recycling",
        "http://ai.bu.edu/zerowaste",
        (2947, 6155),
        partial(Paired, pictures="train/data/*.PNG", labels="train/sem_seg/{0}.PNG", read=regions),
        top="splits_final_deblurred",
        note="A class is one mask: the paper counts two a picture, as many as classes; `labels.json` has objects.",
    ),
    "ishape": Benchmark(
        "iShape, val",
        "irregular shapes",
        "https://ishape.github.io",
        (754, 9742),
        partial(Paired, pictures="*/val/image/*.*", labels="{0}/val/instance_map/{1}.png", read=regions),
        top="ishape_dataset",
    ),
    "ade20k": Benchmark(
        "ADE20K (full), validation",
        "scenes",
        "https://groups.csail.mit.edu/vision/datasets/ADE20K",
        (302, 10128),
        partial(
            Paired,
            pictures="images/ADE/validation/**/*.jpg",
            labels=("images/ADE/validation/{0}{1}_seg.png", "images/ADE/validation/{0}{1}_parts_*.png"),
            read=regions,
        ),
        top="ADE20K_2021_17_01",
        note="Objects and their parts, as far as they are visible: a colour is a mask.",
    ),
    "ovis": Benchmark(
        "OVIS, train",
        "occlusions",
        "http://songbai.site/ovis",
        (2044, 10011),
        partial(Videos, annotations="annotations_train.json", images="train"),
    ),
    "hypersim": Benchmark(
        "Hypersim",
        "simulation",
        "https://github.com/apple/ml-hypersim",
        (338, 9445),
        partial(
            Paired,
            pictures="ai_*/images/scene_cam_*_final_preview/frame.*.tonemap.jpg",
            labels="ai_{0}/images/scene_cam_{1}_geometry_hdf5/frame.{2}.semantic_instance.hdf5",
            read=hdf5,
            only=r"ai_(?!020|025|040|049)",
        ),
        note="Without the volumes 20, 25, 40 and 49, as in the paper. Needs h5py: `pip install 'opensam[eval]'`.",
    ),
    "ndispark": Benchmark(
        "NDISPark, train",
        "parking lots",
        "https://zenodo.org/record/6560823",
        (111, 2577),
        partial(coco, annotations="train/train_coco_annotations.json", images="train/imgs"),
    ),
    "visor": Benchmark(
        "EPIC-KITCHENS VISOR, val",
        "egocentric",
        "https://epic-kitchens.github.io/VISOR",
        (1864, 10141),
        partial(visor, annotations="annotations/val/*.json", pictures="rgb_frames/val/{participant}/{video}/{frame}"),
        top="GroundTruth-SparseAnnotations",
        note="Unpack each `rgb_frames/val/P01/P01_107.zip` into a folder of its name.",
    ),
    "plittersdorf": Benchmark(
        "Plittersdorf",
        "camera traps",
        "https://timm.haucke.xyz/datasets/plittersdorf",
        (187, 546),
        partial(coco, annotations=("train.json", "val.json", "test.json"), images="images"),
        top="plittersdorf_instance_segmentation_coco",
    ),
    "egohos": Benchmark(
        "EgoHOS, train",
        "egocentric",
        "https://github.com/owenzlz/EgoHOS",
        (2940, 9961),
        partial(
            Paired, pictures="train/image/*.jpg", labels="train/label/{0}.png", read=regions, only="image/(ego4d|thu)_"
        ),
        note="Of Ego4D and THU-READ alone, as in the paper.",
    ),
    "ibd": Benchmark(
        "InstanceBuilding 2D, train",
        "drones",
        "https://californiachen.github.io/datasets/InstanceBuilding",
        (467, 11953),
        partial(Paired, pictures="train/*.png", labels="train_labels/{0}.png", read=regions),
        note="Its published layout was not found: bring it into this one, with a value or colour for each roof.",
    ),
    "woodscape": Benchmark(
        "WoodScape",
        "fisheye driving",
        "https://woodscape.valeo.com",
        (107, 10266),
        partial(Paired, pictures="rgb_images/*.png", labels="instance_annotations/{0}.json", read=woodscape),
        note="The paper takes set 1. All outlines are masks; which classes the paper took is not published.",
    ),
    "cityscapes": Benchmark(
        "Cityscapes, val",
        "driving",
        "https://www.cityscapes-dataset.com",
        (293, 9973),
        partial(
            Paired,
            pictures="leftImg8bit/val/*/*_leftImg8bit.png",
            labels="gtFine/val/{0}/{1}_gtFine_instanceIds.png",
            read=panoptic,
        ),
        note="Panoptic, as in the paper: objects, and classes of what cannot be counted; crowds and void are left out.",
    ),
    "pidray": Benchmark(
        "PIDray, test (hard)",
        "X-ray",
        "https://github.com/bywang2018/security-dataset",
        (3733, 8892),
        partial(coco, annotations="annotations/xray_test_hard.json", images="hard"),
        top="pidray",
    ),
    "dram": Benchmark(
        "DRAM, test",
        "paintings",
        "https://faculty.runi.ac.il/arik/site/artseg/Dram-Dataset.html",
        (718, 1179),
        partial(Paired, pictures="test/**/*.jpg", labels="labels/{0}{1}.png", read=partial(regions, without=(255,))),
        top="DRAM_processed",
        note="Semantic: a class is one mask; 255 is not labelled.",
    ),
    "trashcan": Benchmark(
        "TrashCan, train (instances)",
        "underwater",
        "https://conservancy.umn.edu/handle/11299/214865",
        (5936, 9540),
        partial(
            coco,
            annotations="instance_version/instances_train_trashcan.json",
            images="instance_version/train",
        ),
        top="dataset",
    ),
    "gtea": Benchmark(
        "GTEA, hands",
        "egocentric",
        "https://cbs.ic.gatech.edu/fpv",
        (652, 1208),
        partial(Paired, pictures="GTEA/Images/*.jpg", labels="GTEA/Masks/{0}.png", read=regions),
        top="hand2K_dataset",
        note="Left hand, right hand and hands that cross each other are a mask each.",
    ),
    "grabcut": Benchmark(
        "GrabCut",
        "photographs",
        "https://github.com/SamsungLabs/ritm_interactive_segmentation",
        None,
        partial(Paired, pictures="data_GT/*.*", labels="boundary_GT/{0}.*", read=bright),
        note="As packed for RITM. The band of undecided pixels around an object is outside.",
    ),
    "berkeley": Benchmark(
        "Berkeley",
        "photographs",
        "https://github.com/SamsungLabs/ritm_interactive_segmentation",
        None,
        partial(Paired, pictures="images/*.*", labels="masks/{0}.*", read=bright),
        note="As packed for RITM.",
    ),
    "davis": Benchmark(
        "DAVIS, single frames",
        "video frames",
        "https://github.com/SamsungLabs/ritm_interactive_segmentation",
        None,
        partial(Paired, pictures="img/*.*", labels="gt/{0}.*", read=inside),
        note="As packed for RITM: all objects of a frame are one mask.",
    ),
    "sbd": Benchmark(
        "SBD, val",
        "photographs",
        "http://home.bharathh.info/pubs/codes/SBD/download.html",
        None,
        partial(Paired, pictures="img/*.jpg", labels="inst/{0}.mat", read=sbd, listed="val.txt"),
        top="benchmark_RELEASE/dataset",
        note="Needs SciPy: `pip install 'opensam[eval]'`.",
    ),
}
"""By the name in `NAME:FOLDER`; in the order of the paper's table 7, then the others."""


def benchmark_names() -> tuple[str, ...]:
    """The names that `open_benchmark` knows."""
    return tuple(BENCHMARKS)


def open_benchmark(name: str, root: str | Path) -> Dataset:
    """The data set of this name in its published layout; all of it, see `sampled` for what the paper measures on.

    Args:
        name: one of `benchmark_names`, in any case.
        root: the folder that its archive unpacks to, or the one above.

    Raises:
        ValueError: an unknown name, or files that the layout has and the folder has not.
    """
    known = BENCHMARKS.get(name.lower())
    if known is None:
        raise ValueError(f"expected a data set, one of {', '.join(BENCHMARKS)}, got {name!r}")
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(f"expected the folder of {known.title}, got {folder}, which does not exist; check the path")
    inner = folder / known.top
    try:
        return known.reader(name.lower(), inner if inner.is_dir() else folder)
    except ValueError as error:
        raise ValueError(f"{error} (data set {name.lower()}; {GUIDE} shows its layout)") from error
