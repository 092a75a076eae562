"""What the server writes about itself: a line for each request, for people or for programs."""

import json
import logging
import time
from typing import Any, Literal

LogFormat = Literal["text", "json"]
LOGGER = logging.getLogger("opensam.serve")
_FACTS = "facts"


def log(level: int, event: str, error: BaseException | None = None, **facts: Any) -> None:
    """Write one event with its facts."""
    LOGGER.log(level, event, exc_info=error, extra={_FACTS: facts})


class TextLines(logging.Formatter):
    """A short line: time, level, event, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One event; a traceback follows on lines of its own."""
        facts = " ".join(f"{name}={value}" for name, value in getattr(record, _FACTS, {}).items())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower()} {record.getMessage()} {facts}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """A JSON object on a line, tracebacks inside."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **getattr(record, _FACTS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def start_logging(log_format: LogFormat) -> None:
    """Write to stderr from now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if log_format == "json" else TextLines())
    for name, level in (("opensam", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
