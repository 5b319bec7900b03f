"""Logging: one JSON line per record on standard error, with its `action` and the other fields it was given."""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
import time
from typing import Any, Final, TextIO, cast

from registry.log_bursts import Bursts
from registry.log_queue import LogQueue

#: Seconds that writing what is left may take at a stop.
FLUSH_WITHIN_S: Final = 2.0

_PLAIN = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    def __init__(self, replica: str) -> None:
        super().__init__()
        self._replica = replica

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "replica": self._replica,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in record.__dict__.items() if key not in _PLAIN})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str, replica: str) -> None:
    """Send every record of the process to standard error, and what else is written there, by a queue.

    So a traceback, a warning of Python's and a `print` wait for nobody either.
    """
    lines = JsonLines(replica)
    descriptor = sys.stderr.fileno() if sys.stderr else os.open(os.devnull, os.O_WRONLY)
    queue = LogQueue(descriptor, lambda number: lines.format(_loss(number)))
    sys.stderr = cast(TextIO, queue)
    handler = logging.StreamHandler() if level == "debug" else Bursts()
    handler.setFormatter(lines)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("uvicorn.error").setLevel(max(logging.WARNING, logging.getLogger().level))
    # Each websocket's beginning and end is no news.
    for talkative in ("asyncio", "registry.websockets"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    atexit.register(_flush, queue, handler)


def _loss(number: int) -> logging.LogRecord:
    message = "%d lines of the log were dropped here, because those before them were not read in time"
    level = logging.WARNING
    fields = {"levelname": logging.getLevelName(level), "action": "log_lines_dropped", "dropped": number}
    return logging.makeLogRecord({"msg": message, "args": (number,), "levelno": level, **fields})


def lines_dropped() -> int:
    """Lines of this process's log that were dropped."""
    stderr: object = sys.stderr
    return stderr.dropped if isinstance(stderr, LogQueue) else 0


def _flush(queue: LogQueue, handler: logging.Handler) -> None:
    if isinstance(handler, Bursts):
        handler.end_all()
    if queue.drain(FLUSH_WITHIN_S):
        sys.stderr = sys.__stderr__  # what Python itself has still to say
