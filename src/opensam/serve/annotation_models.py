"""What a client sends and gets about pictures, annotations and labels; the twin of web/src/project/types.ts.

Everything has bounds. Keys that are not known are refused: a misspelt one would be lost without a word.
"""

from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from opensam.engine.store import Annotation, Content, Label, Picture

MOST_COUNTS = 8_000_000
"""Characters of a mask; a picture of 100 megapixels full of noise takes more, anything drawn far less."""
_MOST_POINTS = 10_000
_MOST_LABELS = 2_000
_TEXT = r"^[^\x00-\x1f\x7f]*$"  # control characters are no part of a name, and some databases refuse them

State = Literal["new", "in_progress", "done"]
Version = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_TEXT)]
Side = Annotated[int, Field(ge=1, le=1_000_000)]
Point = tuple[FiniteFloat, FiniteFloat]
Box = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RleModel(_Strict):
    """A mask as compressed RLE of COCO; size is [height, width] of the upright picture."""

    size: tuple[Side, Side] = Field(examples=[[4, 4]])
    counts: str = Field(min_length=1, max_length=MOST_COUNTS, pattern=r"^[0-o]+$", examples=["52203"])


class PromptModel(_Strict):
    """What a mask was made with, in pixels of the original picture."""

    point_coords: list[Point] | None = Field(default=None, max_length=_MOST_POINTS)
    point_labels: list[Literal[0, 1]] | None = Field(default=None, max_length=_MOST_POINTS)
    box: Box | None = None

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.point_coords or ()) != len(self.point_labels or ()):
            raise ValueError("expected as many point_labels as point_coords")
        return self

    @model_serializer(mode="wrap")
    def _without_none(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class AnnotationInput(_Strict):
    """What a client says about one object. Box and area are counted from the mask."""

    segmentation: RleModel
    label: Name | None = None
    predicted_iou: FiniteFloat = 1.0
    stability_score: FiniteFloat = 1.0
    prompt: PromptModel = PromptModel()
    source: Literal["manual", "interactive", "automatic"] = "manual"

    def content(self, author: str) -> Content:
        """For the store."""
        return Content(
            segmentation={"size": list(self.segmentation.size), "counts": self.segmentation.counts},
            label=self.label,
            predicted_iou=self.predicted_iou,
            stability_score=self.stability_score,
            prompt=self.prompt.model_dump(mode="json"),
            source=self.source,
            author=author,
        )


class NewAnnotation(AnnotationInput):
    """An object with the id that the client gives it, so that a request made twice saves it once."""

    id: UUID


class ChangedAnnotation(AnnotationInput):
    """An object with the version that the client has seen."""

    version: Version


class AnnotationModel(AnnotationInput):
    """A saved object: bbox is [x, y, width, height], version counts changes."""

    id: str
    image_id: str
    version: int
    bbox: tuple[int, int, int, int]
    area: int

    @classmethod
    def of(cls, annotation: Annotation) -> Self:
        """From the store, where everything was checked when it came."""
        content = annotation.content
        height, width = content.segmentation["size"]
        x, y, box_width, box_height = annotation.bbox
        return cls.model_construct(
            id=annotation.id,
            image_id=annotation.image_id,
            version=annotation.version,
            bbox=(x, y, box_width, box_height),
            area=annotation.area,
            segmentation=RleModel.model_construct(size=(height, width), counts=content.segmentation["counts"]),
            label=content.label,
            predicted_iou=content.predicted_iou,
            stability_score=content.stability_score,
            prompt=PromptModel.model_validate(content.prompt),
            source=content.source,
        )


class Annotations(_Strict):
    """Those of a picture, in the order they came."""

    annotations: list[AnnotationModel]


class ImageItem(_Strict):
    """A picture; width and height are of the upright one, 0 where it cannot be read, and `problem` then says why."""

    id: str
    file_name: str
    width: int
    height: int
    state: State
    annotations: int
    problem: str | None = None

    @classmethod
    def of(cls, picture: Picture, state: str, annotations: int, problem: str | None) -> Self:
        """From the folder and the store."""
        values = {"id": picture.id, "file_name": picture.file_name, "width": picture.width, "height": picture.height}
        return cls.model_validate({**values, "state": state, "annotations": annotations, "problem": problem})


class Images(_Strict):
    """A part of the list of pictures, and how many there are in all."""

    total: int
    images: list[ImageItem]


class AddedImages(_Strict):
    """Pictures that were added to the folder, and for each that was not a sentence that says why."""

    images: list[ImageItem]
    skipped: list[str]


class StateInput(_Strict):
    """How far the work on a picture is."""

    state: State


class LabelModel(_Strict):
    """A label: its colour as #rrggbb, and one key or "" as shortcut."""

    name: Name
    color: str = Field(pattern=r"^#[0-9a-fA-F]{6}$", examples=["#2e86de"])
    shortcut: str = Field(default="", max_length=16, pattern=_TEXT)


class Labels(_Strict):
    """The list of labels; its version counts changes."""

    version: Version
    labels: list[LabelModel] = Field(max_length=_MOST_LABELS)

    @classmethod
    def of(cls, version: int, labels: list[Label]) -> Self:
        """From the store."""
        listed = [LabelModel.model_construct(name=one.name, color=one.color, shortcut=one.shortcut) for one in labels]
        return cls.model_construct(version=version, labels=listed)


class ChangedLabels(Labels):
    """The list as it is to be, with the version that the client has seen, and what was renamed: new names by old."""

    renamed: dict[Name, Name] = Field(default_factory=dict, max_length=_MOST_LABELS)


class ProjectInfo(_Strict):
    """What a folder of pictures holds. `read_only`: no pictures can be added; annotations can be saved all the same."""

    name: str
    labels_version: int
    images: int
    annotations: int
    read_only: bool


class Imported(_Strict):
    """How many annotations were added to how many pictures, and what was not, in a sentence each."""

    annotations: int
    images: int
    skipped: list[str]
