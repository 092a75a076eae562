"""JSON files, with errors that name them."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: it is missing, cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}; check the path") from error
    except ValueError as error:
        raise ValueError(f"expected JSON in {path}, got: {error}") from error
