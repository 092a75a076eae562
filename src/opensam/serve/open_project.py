"""A folder of pictures together with the store of their annotations."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from opensam import image
from opensam.engine.store import NEW, Picture, Store, StoreError
from opensam.serve.annotation_models import ImageItem
from opensam.serve.folder import HIDDEN, Entry, PictureFolder, Shown, VanishedError
from opensam.serve.thumbnails import Thumbnails

AUTHOR = "annotator"
"""Who made what comes through the browser; what comes from files names them."""


class Project:
    """An open folder of pictures.

    Attributes:
        name: what the folder is called.
        store: the annotations.
        pictures: the files.
        clock: gives POSIX seconds.

    Args:
        folder: of the pictures, with the folders in it.
        store: stays open when the project is no longer used; it belongs to whoever opened it.
        clock: see above.

    Raises:
        ValueError: there is no such folder.
    """

    def __init__(self, folder: Path, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.pictures, self.store, self.clock = PictureFolder(folder), store, clock
        self.name = self.pictures.folder.resolve().name or "pictures"
        self._thumbnails = Thumbnails(self.pictures, self.pictures.folder / HIDDEN / "thumbnails")

    def read_bytes(self, image_id: str) -> bytes:
        """The file of a picture. Raises VanishedError, or ImageError where it cannot be read."""
        return self.pictures.read_bytes(self.pictures.entry(image_id))

    def picture(self, image_id: str) -> Picture:
        """A picture with its size. Raises VanishedError, or ImageError where it cannot be read."""
        return self.pictures.picture(self.pictures.entry(image_id))

    def thumbnail(self, image_id: str) -> bytes:
        """A JPEG. Raises VanishedError, or ImageError where it cannot be read."""
        return self._thumbnails.read(self.pictures.entry(image_id))

    def show(self, image_id: str) -> Shown:
        """The picture for a browser. Raises VanishedError, or ImageError where it cannot be read."""
        return self.pictures.show(self.pictures.entry(image_id))

    def mark(self, image_id: str) -> str:
        """Changes when the file of a picture does. Raises VanishedError."""
        return self.pictures.mark(self.pictures.entry(image_id))

    def items(self, entries: Sequence[Entry]) -> list[ImageItem]:
        """Pictures as the list shows them; one that cannot be read says why. Raises StoreError."""
        states = self.store.states([entry.id for entry in entries])
        return [self._item(entry, *states.get(entry.id, (NEW, 0))) for entry in entries]

    def item(self, image_id: str) -> ImageItem:
        """One picture. Raises VanishedError, or StoreError."""
        entry = self.pictures.entry(image_id)
        self.pictures.mark(entry)
        return self.items([entry])[0]

    def _item(self, entry: Entry, state: str, annotations: int) -> ImageItem:
        try:
            return ImageItem.of(self.pictures.picture(entry), state, annotations, None)
        except (image.ImageError, VanishedError) as error:
            nothing = Picture(entry.id, entry.file_name, 0, 0)
            return ImageItem.of(nothing, state, annotations, str(error))


def open_project(folder: Path, store: str | None = None) -> Project:
    """Open a folder with annotations beside the pictures, or in another store.

    Args:
        folder: of the pictures.
        store: URL of SQLAlchemy; FOLDER/.opensam/annotations.sqlite if None.

    Raises:
        ValueError: no such folder, or annotations can neither be read nor saved there.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of pictures, got {folder}; check the path")
    if store is not None:
        return Project(folder, Store(store))
    hidden = folder / HIDDEN
    try:
        hidden.mkdir(exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"expected a folder that annotations can be saved in, got {folder}: {error.strerror}; "
            "keep them elsewhere, as with --store sqlite:///annotations.sqlite"
        ) from error
    return Project(folder, Store(hidden / "annotations.sqlite"))
