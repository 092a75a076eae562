"""Typed, frozen settings: dotted overrides in, `run.json` out."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import pydantic

from opensam.files import replacing


class Config(pydantic.BaseModel):
    """Base of every config: frozen, typed, and closed to unknown keys.

    Attributes:
        may_differ: keys that may change when a run goes on; see `check_same_config`.
    """

    may_differ: ClassVar[tuple[str, ...]] = ()

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def with_overrides(self, overrides: list[str]) -> Self:
        """A copy changed by dotted assignments such as `"optim.lr=8e-4"`.

        Values are read as JSON where they parse as such and as plain text otherwise, then checked against their type.

        Raises:
            ValueError: an override has no `=`, names an unknown key, or has a value of the wrong type.
        """
        values = self.model_dump()
        for override in overrides:
            key, equals, text = override.partition("=")
            if not equals:
                raise ValueError(f"expected an override such as optim.lr=8e-4, got {override!r}; add '=' and a value")
            _assign(values, key.strip(), _parse(text.strip()))
        return self.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """A config of these values, by their names.

        Raises:
            ValueError: a name is unknown or missing, or a value is of the wrong type or out of range; in one sentence.
        """
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"config {where}: {first['msg']}, got {first['input']!r}") from None


def _assign(values: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    group = values
    for part in parents:
        inner = group.get(part)
        if not isinstance(inner, dict):
            known = ", ".join(sorted(group))
            raise ValueError(f"unknown config key {dotted!r}: {part!r} is no group; known here: {known}")
        group = inner
    if last not in group:
        raise ValueError(f"unknown config key {dotted!r}; known here: {', '.join(sorted(group))}")
    group[last] = value


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def check_same_config(folder: Path, before: dict[str, Any], config: Config) -> None:
    """A folder holds one run: to go on in it with another config would give results that no config explains.

    Raises:
        ValueError: the config of before differs.
    """
    was, now = _flat(before), _flat(config.model_dump(mode="json"))
    for key in sorted((was.keys() | now.keys()) - set(config.may_differ)):
        if was.get(key) != now.get(key):
            raise ValueError(
                f"expected {folder} to hold a run of the same config, got one with {key}={was.get(key)} "
                f"instead of {now.get(key)}; repeat its options to resume it, or choose another --out"
            )


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def write_run_json(folder: Path, config: Config, **facts: Any) -> Path:
    """Write `run.json` (the config and facts such as commit, versions, seed, device) atomically; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"config": config.model_dump(mode="json"), **facts}, indent=2) + "\n"
    path = folder / "run.json"
    with replacing(path) as temporary:
        temporary.write_text(text)
    return path
