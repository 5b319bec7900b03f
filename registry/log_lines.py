"""LogLines: what one line of the log looks like - JSON for programs, text for people at a terminal."""

from __future__ import annotations

import json
import logging
import os
import time
from typing import Any, Final

_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}
#: Fields that a line for people leaves out: its message says them.
_SAID: Final = frozenset({"replica", "pid"})


class JsonLines(logging.Formatter):
    """One JSON object a line: when, how grave, which replica and process, the message, and the record's own fields.

    Args:
        replica: as it is named everywhere; "" in a process that is none.
    """

    def __init__(self, replica: str) -> None:
        super().__init__()
        self._own = {"replica": replica} if replica else {}
        self._own_pid = {"pid": os.getpid()}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            **self._own,
            **self._own_pid,
            "message": record.getMessage(),
        }
        line.update(own_fields(record))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextLines(logging.Formatter):
    """For people: local time, how grave unless that is usual, the message, and the record's own fields behind it."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%H:%M:%S", time.localtime(record.created)) + f".{int(record.msecs):03d}"
        level = "" if record.levelno == logging.INFO else f"{record.levelname} "
        fields = "".join(f" {name}={_shown(value)}" for name, value in own_fields(record).items() if name not in _SAID)
        line = f"{at} {level}{_on_one_line(record.getMessage())}{' ·' if fields else ''}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def own_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the one who logs has added to the message."""
    return {key: value for key, value in record.__dict__.items() if key not in _PLAIN}


def _shown(value: object) -> str:
    text = _on_one_line(str(value))
    return text if text and " " not in text else f'"{text}"'


def _on_one_line(text: str) -> str:
    """What a client has sent must not look like another line, nor move the terminal's cursor."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
