"""Logging: every record goes to standard error as one line, by a queue for which nobody waits."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from typing import Final, TextIO, cast

from registry.http_api import access_log
from registry.log_bursts import Bursts
from registry.log_lines import JsonLines, TextLines
from registry.log_queue import LogQueue

#: Seconds that writing what is left may take at a stop.
FLUSH_WITHIN_S: Final = 2.0


def configure(level: str, replica: str, form: str = "") -> None:
    """Send every record of the process to standard error, and what else is written there, by a queue.

    So a traceback, a warning of Python's and a `print` wait for nobody either.

    Args:
        replica: what this one is called; "" for a process that is none.
        form: json or text; "": text for a terminal.
    """
    is_text = form == "text" or (not form and bool(sys.stderr) and sys.stderr.isatty())
    lines: logging.Formatter = TextLines() if is_text else JsonLines(replica)
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
    _say_each_request(lines)
    atexit.register(_flush, queue, handler)


def _say_each_request(lines: logging.Formatter) -> None:
    """Who switches the access log on wants each of its lines, at every level."""
    requests = logging.getLogger(access_log.NAME)
    handler = logging.StreamHandler()
    handler.setFormatter(lines)
    requests.handlers, requests.propagate = [handler], False
    requests.setLevel(logging.INFO)


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
