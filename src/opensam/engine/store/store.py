"""What can be done with pictures, their annotations and the list of labels.

Several processes may have one store open. Nobody overwrites what he has not seen: a change names the version that it is
based on, and raises ConflictError where that is not the last one. Asking again for what was done already, because the
answer got lost, is not a conflict. Who and when are arguments.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import sqlalchemy as sql
from sqlalchemy import exc

from opensam.engine.store import statements
from opensam.engine.store.connection import Database
from opensam.engine.store.errors import ConflictError, NotFoundError, StoreError
from opensam.engine.store.statements import Saved
from opensam.engine.store.tables import (
    ANNOTATIONS,
    IMAGES,
    LABELS,
    LAYOUT,
    METADATA,
    NUMBERS,
    Annotation,
    Content,
    Label,
    Picture,
    annotation_of,
    living,
    values_of,
)

_MOST_VALUES = 500  # in one statement; SQLite takes 32766, others fewer

Result = TypeVar("Result")


class Store:
    """An open store; a context manager that closes it.

    Args:
        url: the path of a file of SQLite, which is made if it is not there (its folder is not), or a URL of SQLAlchemy.

    Raises:
        StoreError: it cannot be opened, or was written by a newer opensam.
    """

    def __init__(self, url: str | Path) -> None:
        self._database = Database(url)
        try:
            self._write(self._make_tables)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store. It opens again if it is used again."""
        self._database.close()

    # ---- annotations ------------------------------------------------------------------------------------------

    def annotations(self, image_id: str) -> list[Annotation]:
        """Those of a picture, in the order they came."""
        wanted = living().where(ANNOTATIONS.c.image_id == image_id).order_by(ANNOTATIONS.c.number)
        with self._database.reading() as connection:
            return [annotation_of(row) for row in connection.execute(wanted)]

    def annotation(self, annotation_id: str) -> Annotation:
        """One by its id. Raises NotFoundError."""
        with self._database.reading() as connection:
            found = statements.find(connection, annotation_id)
        if found is None:
            raise NotFoundError("there is no such annotation; it may have been deleted")
        return found

    def add(self, annotation_id: str, picture: Picture, content: Content, now: float) -> tuple[Annotation, bool]:
        """Save a new object, or one that was deleted; a picture that was `new` is then in progress.

        Returns:
            The annotation, and False if it was there already with this content.

        Raises:
            ConflictError: the id is taken by something else.
            ValueError: the mask does not fit the picture, or the picture has masks of another size.
        """
        values = values_of(content) | {"image_id": picture.id}
        statements.check_size(content, picture.height, picture.width)

        def work(connection: sql.Connection) -> tuple[Annotation, bool]:
            current = statements.find(connection, annotation_id)
            if current and (current.image_id, current.content) == (picture.id, content):
                return current, False
            if current:
                raise ConflictError("expected a new id, got that of another annotation; make a new one", current)
            statements.take_picture(connection, picture, now)
            statements.insert(connection, annotation_id, values, now)
            added = statements.find(connection, annotation_id)
            if added is None:
                raise NotFoundError("the annotation was deleted while it was saved; try again")
            return added, True

        return self._write(work)

    def update(self, annotation_id: str, version: int, content: Content, now: float) -> Annotation:
        """Change an object, given the version on which the change is based.

        Raises:
            ConflictError: it was changed or deleted since.
            NotFoundError: there never was one.
            ValueError: the mask does not fit the picture.
        """
        values = values_of(content)

        def work(connection: sql.Connection) -> Annotation:
            current = statements.find(connection, annotation_id)
            if current is None and statements.deleted_version(connection, annotation_id) is None:
                raise NotFoundError("there is no such annotation")
            if current is None:
                raise ConflictError("the annotation was deleted by somebody else; save it as a new one", None)
            statements.check_size(content, *current.content.segmentation["size"])
            if (current.version, current.content) == (version + 1, content):
                return current
            if statements.change(connection, annotation_id, version, now, **values):
                return statements.find(connection, annotation_id) or current
            raise statements.changed_since(connection, annotation_id)

        return self._write(work)

    def remove(self, annotation_id: str, version: int, now: float) -> None:
        """Delete an object, given its version. `add` brings it back.

        Raises:
            ConflictError: it was changed since.
            NotFoundError: there is none.
        """

        def work(connection: sql.Connection) -> None:
            if statements.find(connection, annotation_id) is None:
                raise NotFoundError("there is no such annotation; it may have been deleted already")
            if not statements.change(connection, annotation_id, version, now, deleted=True):
                raise statements.changed_since(connection, annotation_id)

        self._write(work)

    def add_all(
        self, pictures: Sequence[tuple[Picture, Mapping[str, Content]]], labels: Sequence[Label], now: float
    ) -> list[int]:
        """Save many new objects at once, all of them or none; what a picture has already is left out.

        Args:
            pictures: each once, with new objects by id. One with the mask and label of another is left out.
            labels: added to the list where it has none of that name.
            now: POSIX seconds.

        Returns:
            How many were saved, by picture.

        Raises:
            ValueError: a mask does not fit its picture, or a picture has masks of another size.
        """
        rows = [
            (picture, {one: values_of(content) | {"image_id": picture.id} for one, content in new.items()})
            for picture, new in pictures
        ]
        for picture, new in pictures:
            for content in new.values():
                statements.check_size(content, picture.height, picture.width)

        def work(connection: sql.Connection) -> list[int]:
            statements.append_labels(connection, labels)
            return [statements.insert_all(connection, picture, values, now) for picture, values in rows]

        return self._write(work)

    def count(self) -> int:
        """All annotations."""
        with self._database.reading() as connection:
            return connection.execute(living([sql.func.count()])).scalar_one()

    def used_labels(self) -> set[str | None]:
        """The labels that annotations have; None is among them if one has no label."""
        with self._database.reading() as connection:
            return set(connection.execute(living([ANNOTATIONS.c.label]).distinct()).scalars())

    # ---- pictures ---------------------------------------------------------------------------------------------

    def states(self, image_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """State and number of annotations of those of these pictures that the store knows."""
        found: dict[str, tuple[str, int]] = {}
        with self._database.reading() as connection:
            for first in range(0, len(image_ids), _MOST_VALUES):
                found |= statements.states(connection, image_ids[first : first + _MOST_VALUES])
        return found

    def set_state(self, picture: Picture, state: str, now: float) -> None:
        """Say how far the work on a picture is: "new", "in_progress" or "done"."""

        def work(connection: sql.Connection) -> None:
            known = sql.update(IMAGES).where(IMAGES.c.id == picture.id).values(state=state, changed=now)
            if not connection.execute(known).rowcount:
                statements.insert_picture(connection, picture, state, now)

        self._write(work)

    def saved(self) -> Iterator[Saved]:
        """Every picture that has annotations or is done, by file name; a page of them is in memory."""
        last: tuple[str, str] = ("", "")
        while True:
            with self._database.reading() as connection:
                page = statements.page(connection, last)
            yield from page
            if len(page) < statements.PAGE:
                return
            last = (page[-1].picture.file_name, page[-1].picture.id)

    # ---- labels -----------------------------------------------------------------------------------------------

    def labels(self) -> tuple[int, list[Label]]:
        """The list of labels, and its version."""
        with self._database.reading() as connection:
            return statements.list_labels(connection)

    def replace_labels(
        self, labels: Sequence[Label], version: int, renamed: Mapping[str, str], now: float
    ) -> tuple[int, list[Label]]:
        """Change the list of labels, given the version on which the change is based.

        Annotations keep a label that is no longer listed.

        Args:
            labels: the whole list, each name once.
            version: see above.
            renamed: new names by old ones, changed in all annotations, whose versions count up.
            now: POSIX seconds.

        Raises:
            ConflictError: it was changed since; `current` is what `labels` returns.
            ValueError: a name comes twice, or something is renamed to a name that is not listed.
        """
        names = [label.name for label in labels]
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise ValueError(f"expected every label once, got {twice[0]!r} twice; rename one of them")
        if unlisted := [new for new in renamed.values() if new not in names]:
            raise ValueError(f"expected the new name {unlisted[0]!r} in the list of labels; add it")

        def work(connection: sql.Connection) -> tuple[int, list[Label]]:
            if not statements.count_up(connection, "labels", version):
                current = statements.list_labels(connection)
                if current == (version + 1, list(labels)):
                    return current
                raise ConflictError("the labels were changed by somebody else; look at theirs first", current)
            connection.execute(sql.delete(LABELS))
            statements.insert_labels(connection, labels, 0)
            if renamed:
                label = ANNOTATIONS.c.label
                values = {"label": sql.case(renamed, value=label), "version": ANNOTATIONS.c.version + 1, "changed": now}
                connection.execute(sql.update(ANNOTATIONS).where(label.in_(renamed)).values(values))
            return statements.list_labels(connection)

        return self._write(work)

    # ---- the database -----------------------------------------------------------------------------------------

    def _write(self, work: Callable[[sql.Connection], Result]) -> Result:
        """Do something in one transaction; once more if another process inserted the same row meanwhile."""
        try:
            with self._database.writing() as connection:
                return work(connection)
        except exc.IntegrityError:
            with self._database.writing() as connection:
                return work(connection)

    def _make_tables(self, connection: sql.Connection) -> None:
        self._database.one_at_a_time(connection)
        METADATA.create_all(connection)
        numbers = {row.name: row.value for row in connection.execute(sql.select(NUMBERS))}
        if (layout := numbers.get("layout", LAYOUT)) > LAYOUT:
            raise StoreError(
                f"expected annotations in layout {LAYOUT}, got layout {layout} of a newer opensam; update this one"
            )
        missing = {"layout": LAYOUT, "labels": 0}.items() - numbers.items() if not numbers else ()
        for name, value in missing:
            connection.execute(sql.insert(NUMBERS).values(name=name, value=value))
