"""What the store asks of its database, each in a transaction that the caller has begun."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sql

from opensam.engine.store.errors import ConflictError
from opensam.engine.store.tables import (
    ANNOTATIONS,
    IMAGES,
    LABELS,
    NUMBERS,
    Annotation,
    Content,
    Label,
    Picture,
    annotation_of,
    living,
)

NEW, IN_PROGRESS, DONE = "new", "in_progress", "done"
"""States of a picture."""
PAGE = 100  # pictures read at a time where all are


class Saved(NamedTuple):
    """A picture as the store has it, what state it is in, and its annotations in the order they came."""

    picture: Picture
    state: str
    annotations: list[Annotation]


def find(connection: sql.Connection, annotation_id: str) -> Annotation | None:
    """An annotation that is not deleted."""
    row = connection.execute(living().where(ANNOTATIONS.c.id == annotation_id)).one_or_none()
    return annotation_of(row) if row else None


def changed_since(connection: sql.Connection, annotation_id: str) -> ConflictError:
    """What to raise where a version was not the last one."""
    current = find(connection, annotation_id)
    return ConflictError("the annotation was changed by somebody else; look at theirs first", current)


def change(connection: sql.Connection, annotation_id: str, version: int, now: float, **values: Any) -> bool:
    """Change an object if it has that version and is there."""
    row = ANNOTATIONS.c
    wanted = (row.id == annotation_id, row.version == version, ~row.deleted)
    changed = sql.update(ANNOTATIONS).where(*wanted).values(version=version + 1, changed=now, **values)
    return connection.execute(changed).rowcount == 1


def deleted_version(connection: sql.Connection, annotation_id: str) -> int | None:
    """The version of an annotation that is deleted; None of one that is not, or never was."""
    row = ANNOTATIONS.c
    return connection.execute(sql.select(row.version).where(row.id == annotation_id, row.deleted)).scalar_one_or_none()


def insert(connection: sql.Connection, annotation_id: str, values: Mapping[str, Any], now: float) -> None:
    """A new annotation, or a deleted one back. Raises ConflictError if another process was faster."""
    version = deleted_version(connection, annotation_id)
    if version is None:
        new = {"id": annotation_id, "version": 1, "deleted": False, "created": now, "changed": now}
        connection.execute(sql.insert(ANNOTATIONS).values(**values, **new))
        return
    row = ANNOTATIONS.c
    wanted = (row.id == annotation_id, row.version == version, row.deleted)
    again = sql.update(ANNOTATIONS).where(*wanted).values(version=version + 1, changed=now, deleted=False, **values)
    if not connection.execute(again).rowcount:
        raise changed_since(connection, annotation_id)


def insert_all(connection: sql.Connection, picture: Picture, values: Mapping[str, dict[str, Any]], now: float) -> int:
    """New annotations but those that the picture has already; returns how many."""
    row = ANNOTATIONS.c
    there = connection.execute(living([row.counts, row.label]).where(row.image_id == picture.id))
    known = {tuple(one) for one in there}
    new = []
    for annotation_id, columns in values.items():
        if (key := (columns["counts"], columns["label"])) not in known:
            known.add(key)
            fixed = {"id": annotation_id, "version": 1, "deleted": False, "created": now, "changed": now}
            new.append(columns | fixed)
    if new:
        take_picture(connection, picture, now)
        connection.execute(sql.insert(ANNOTATIONS), new)
    return len(new)


def check_size(content: Content, height: int, width: int) -> None:
    """Raises ValueError for a mask that does not fit its picture."""
    if list(content.segmentation["size"]) != [height, width]:
        raise ValueError(
            f"expected a mask of the picture's size {[height, width]}, got {list(content.segmentation['size'])}; "
            "sizes are [height, width] of the upright picture"
        )


def take_picture(connection: sql.Connection, picture: Picture, now: float) -> None:
    """Note a picture that gets an annotation."""
    row = connection.execute(sql.select(IMAGES).where(IMAGES.c.id == picture.id)).one_or_none()
    if row is None:
        insert_picture(connection, picture, IN_PROGRESS, now)
        return
    if (row.width, row.height) != (picture.width, picture.height):
        there = connection.execute(living([sql.func.count()]).where(ANNOTATIONS.c.image_id == picture.id)).scalar_one()
        if there:
            raise ValueError(
                f"{picture.file_name} has {picture.width} x {picture.height} pixels now, but masks that were made on "
                f"{row.width} x {row.height}; put the old picture back, or give the new one another name"
            )
    state = IN_PROGRESS if row.state == NEW else row.state
    values = {"width": picture.width, "height": picture.height, "state": state, "changed": now}
    connection.execute(sql.update(IMAGES).where(IMAGES.c.id == picture.id).values(values))


def insert_picture(connection: sql.Connection, picture: Picture, state: str, now: float) -> None:
    """A picture that the store did not know."""
    row = {"id": picture.id, "file_name": picture.file_name, "width": picture.width, "height": picture.height}
    connection.execute(sql.insert(IMAGES).values(**row, state=state, changed=now))


def states(connection: sql.Connection, image_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """State and number of annotations of those that are known."""
    chosen = sql.select(IMAGES.c.id, IMAGES.c.state).where(IMAGES.c.id.in_(image_ids))
    image_id = ANNOTATIONS.c.image_id
    counted = living([image_id, sql.func.count()]).where(image_id.in_(image_ids)).group_by(image_id)
    counts = {row[0]: row[1] for row in connection.execute(counted)}
    return {key: (state, counts.get(key, 0)) for key, state in connection.execute(chosen)}


def page(connection: sql.Connection, last: tuple[str, str]) -> list[Saved]:
    """The next pictures with something to say about them, behind (file name, id)."""
    columns = IMAGES.c
    one = sql.exists().where(ANNOTATIONS.c.image_id == columns.id, ~ANNOTATIONS.c.deleted)
    behind = sql.or_(columns.file_name > last[0], sql.and_(columns.file_name == last[0], columns.id > last[1]))
    wanted = sql.select(IMAGES).where(sql.or_(columns.state == DONE, one), behind)
    rows = connection.execute(wanted.order_by(columns.file_name, columns.id).limit(PAGE)).all()
    within = ANNOTATIONS.c.image_id.in_([row.id for row in rows])
    found: dict[str, list[Annotation]] = {row.id: [] for row in rows}
    for row in connection.execute(living().where(within).order_by(ANNOTATIONS.c.number)):
        found[row.image_id].append(annotation_of(row))
    return [Saved(Picture(row.id, row.file_name, row.width, row.height), row.state, found[row.id]) for row in rows]


def list_labels(connection: sql.Connection) -> tuple[int, list[Label]]:
    """The list, and its version."""
    version = connection.execute(sql.select(NUMBERS.c.value).where(NUMBERS.c.name == "labels")).scalar_one()
    rows = connection.execute(sql.select(LABELS).order_by(LABELS.c.position))
    return version, [Label(row.name, row.color, row.shortcut) for row in rows]


def count_up(connection: sql.Connection, name: str, version: int) -> bool:
    """Take the next version of a list if it has this one."""
    wanted = (NUMBERS.c.name == name, NUMBERS.c.value == version)
    return connection.execute(sql.update(NUMBERS).where(*wanted).values(value=version + 1)).rowcount == 1


def insert_labels(connection: sql.Connection, labels: Sequence[Label], first: int) -> None:
    """Labels with positions from `first` on."""
    rows = [
        {"name": one.name, "position": position, "color": one.color, "shortcut": one.shortcut}
        for position, one in enumerate(labels, start=first)
    ]
    if rows:
        connection.execute(sql.insert(LABELS), rows)


def append_labels(connection: sql.Connection, labels: Sequence[Label]) -> None:
    """Those that are not in the list yet, behind it."""
    version, there = list_labels(connection)
    known = {label.name for label in there}
    new = [label for label in labels if label.name not in known]
    if new and count_up(connection, "labels", version):
        insert_labels(connection, new, len(there))
