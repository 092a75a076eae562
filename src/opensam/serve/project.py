"""The HTTP routes of a project."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, File, HTTPException, Query, Request, Response, UploadFile
from fastapi.responses import StreamingResponse

from opensam.engine.store import Label, StoreError
from opensam.image import ImageError
from opensam.serve import exporting, importing
from opensam.serve.annotation_models import (
    AddedImages,
    AnnotationModel,
    Annotations,
    ChangedAnnotation,
    ChangedLabels,
    ImageItem,
    Images,
    Imported,
    Labels,
    NewAnnotation,
    ProjectInfo,
    StateInput,
    Version,
)
from opensam.serve.open_project import AUTHOR
from opensam.serve.open_project import Project as Project  # of this module too: what the routes are about
from opensam.serve.open_project import open_project as open_project
from opensam.serve.project_route import ProjectRoute

_MOST_BYTES = 1 << 29  # of one picture that is added
_KEEP = "private, no-cache"  # keep it, but ask each time whether it has changed
_ANNOTATION, _IMAGE = "/v1/annotations/{annotation_id}", "/v1/images/{image_id}"


def project_router(project: Project) -> APIRouter:
    """All routes about pictures, annotations, labels, export and import; none needs a model."""
    routes = _Routes(project)
    router = APIRouter(route_class=ProjectRoute, tags=["annotation"])
    for method, path, function, status in (
        ("GET", "/v1/project", routes.project_info, 200),
        ("GET", "/v1/images", routes.images, 200),
        ("POST", "/v1/images", routes.add_images, 201),
        ("GET", _IMAGE, routes.image, 200),
        ("PATCH", _IMAGE, routes.set_state, 200),
        ("GET", f"{_IMAGE}/file", routes.file, 200),
        ("GET", f"{_IMAGE}/thumbnail", routes.thumbnail, 200),
        ("GET", f"{_IMAGE}/annotations", routes.annotations, 200),
        ("POST", f"{_IMAGE}/annotations", routes.add_annotation, 201),
        ("PUT", _ANNOTATION, routes.change_annotation, 200),
        ("DELETE", _ANNOTATION, routes.remove_annotation, 204),
        ("GET", "/v1/labels", routes.labels, 200),
        ("PUT", "/v1/labels", routes.set_labels, 200),
        ("GET", "/v1/export/{export_format}", routes.export, 200),
        ("POST", "/v1/import", routes.import_files, 200),
    ):
        router.add_api_route(path, function, methods=[method], status_code=status)
    return router


class _Routes:
    """The functions behind the routes; FastAPI runs them in threads, for they wait for disks."""

    def __init__(self, project: Project) -> None:
        self._project, self._store, self._pictures = project, project.store, project.pictures

    def project_info(self) -> ProjectInfo:
        """What is in the folder."""
        return ProjectInfo(
            name=self._project.name,
            labels_version=self._store.labels()[0],
            images=len(self._pictures.entries()),
            annotations=self._store.count(),
            read_only=self._pictures.read_only,
        )

    def images(
        self,
        offset: Annotated[int, Query(ge=0, le=2**31 - 1)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> Images:
        """A part of the list of pictures, in natural order; at offset 0 the folder is looked at again."""
        if offset == 0:
            self._pictures.scan()
        entries = self._pictures.entries()
        return Images(total=len(entries), images=self._project.items(entries[offset : offset + limit]))

    def add_images(self, uploads: Annotated[list[UploadFile], File(alias="image")]) -> AddedImages:
        """Add pictures to the folder. None is replaced: one whose name is taken gets a number."""
        added, skipped = [], []
        for upload in uploads:
            try:
                if (upload.size or 0) > _MOST_BYTES:
                    raise ImageError(f"expected a picture of at most {_MOST_BYTES >> 20} MiB; scale it down")
                added.append(self._pictures.add(upload.filename or "picture", upload.file.read()))
            except ImageError as error:
                skipped.append(str(error))
        if not added:
            raise HTTPException(422, skipped[0] if skipped else "expected pictures, got none")
        return AddedImages(images=self._project.items(added), skipped=skipped)

    def image(self, image_id: str) -> ImageItem:
        """One picture."""
        return self._project.item(image_id)

    def set_state(self, image_id: str, body: StateInput) -> ImageItem:
        """Say how far the work on a picture is."""
        self._store.set_state(self._project.picture(image_id), body.state, self._project.clock())
        return self._project.item(image_id)

    def file(self, image_id: str, request: Request) -> Response:
        """The picture, upright or with EXIF data that say how it is turned, as a browser can show it."""
        headers = {"ETag": f'"{self._project.mark(image_id)}"', "Cache-Control": _KEEP}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        shown = self._project.show(image_id)
        return Response(shown.content, media_type=shown.media_type, headers=headers)

    def thumbnail(self, image_id: str, request: Request) -> Response:
        """The picture with its longest side at most 320 pixels, as JPEG."""
        headers = {"ETag": f'"{self._project.mark(image_id)}-small"', "Cache-Control": _KEEP}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(self._project.thumbnail(image_id), media_type="image/jpeg", headers=headers)

    def annotations(self, image_id: str) -> Annotations:
        """What is saved about a picture, in the order it came."""
        picture = self._project.picture(image_id)
        found = self._store.annotations(image_id)
        sizes = {tuple(one.content.segmentation["size"]) for one in found}
        if sizes - {(picture.height, picture.width)}:
            raise HTTPException(
                409,
                f"{picture.file_name} has {picture.width} x {picture.height} pixels now, but masks of another size; "
                "put the old picture back, or give the new one another name",
            )
        return Annotations.model_construct(annotations=[AnnotationModel.of(one) for one in found])

    def add_annotation(self, image_id: str, body: NewAnnotation, response: Response) -> AnnotationModel:
        """Save a new object, or one that was deleted; the same again is answered with 200 and saved once."""
        picture = self._project.picture(image_id)
        with _unprocessable():
            saved, new = self._store.add(str(body.id), picture, body.content(AUTHOR), self._project.clock())
        response.status_code = 201 if new else 200
        return AnnotationModel.of(saved)

    def change_annotation(self, annotation_id: str, body: ChangedAnnotation) -> AnnotationModel:
        """Change an object that is as this client has seen it; otherwise 409 with what is saved now."""
        now = self._project.clock()
        with _unprocessable():
            return AnnotationModel.of(self._store.update(annotation_id, body.version, body.content(AUTHOR), now))

    def remove_annotation(self, annotation_id: str, version: Annotated[Version, Query()]) -> Response:
        """Delete an object that is as this client has seen it."""
        self._store.remove(annotation_id, version, self._project.clock())
        return Response(status_code=204)

    def labels(self) -> Labels:
        """The list of labels."""
        return Labels.of(*self._store.labels())

    def set_labels(self, body: ChangedLabels) -> Labels:
        """Change the list of labels, and rename them in all annotations, whose versions count up."""
        labels = [Label(one.name, one.color, one.shortcut) for one in body.labels]
        with _unprocessable():
            return Labels.of(*self._store.replace_labels(labels, body.version, body.renamed, self._project.clock()))

    def export(self, export_format: exporting.Name) -> StreamingResponse:
        """All annotations as a file: JSON for coco, a zip for the others."""
        export = exporting.export(self._project, export_format)
        headers = {"Content-Disposition": export.disposition, "Cache-Control": "no-store"}
        return StreamingResponse(export.content, media_type=export.media_type, headers=headers)

    def import_files(
        self,
        files: Annotated[list[UploadFile], File()],
        import_format: Annotated[importing.Name, Query(alias="format")],
    ) -> Imported:
        """Add the annotations of files, or of zips of them, to pictures of the same names."""
        uploads = [(upload.filename or "file", upload.file) for upload in files]
        with _unprocessable():
            return importing.import_files(self._project, import_format, uploads)


@contextmanager
def _unprocessable() -> Iterator[None]:
    """Errors in what was sent, found further inside than its form is checked."""
    try:
        yield
    except StoreError:
        raise
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
