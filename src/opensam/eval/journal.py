"""What has been measured so far, kept on disk: an evaluation of hours that was cut off goes on where it stood."""

import json
from pathlib import Path
from typing import Any


class Journal:
    """Values by key, a line each, in a file that is kept until the work is done.

    A file that was begun under other facts is begun again; a last line that was cut short does not count.
    """

    def __init__(self, path: Path, facts: dict[str, Any]) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        header = json.dumps({"facts": facts}, sort_keys=True)
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
        if lines[:1] == [header]:
            for line in lines[1:-1]:  # what follows the last line break is empty or cut short
                key, value = json.loads(line)
                self.values[key] = value
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [header, *(json.dumps(pair) for pair in self.values.items())]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def add(self, key: str, value: Any) -> Any:
        """Keep a value that JSON can hold, at once; returns what another start will read."""
        line = json.dumps([key, value], allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        self.values[key] = json.loads(line)[1]
        return self.values[key]

    def delete(self) -> None:
        """The work is done."""
        self.path.unlink(missing_ok=True)
