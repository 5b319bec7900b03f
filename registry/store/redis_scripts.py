"""The scripts that Redis runs: each a named file, loaded on every server and called by its digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

SCRIPTS: Final = (
    *("beat", "commit", "expire", "pulse", "rearm", "remaining", "renewed", "resume", "revive", "tenant"),
    *("drop", "exchange", "fetch", "hold", "mark", "marks", "stow", "trim"),
    *("condition", "cut", "forget", "leave", "list", "note", "notes"),
    *("clear", "listed", "notices", "strike"),
)
#: Scripts that append, and which of their keys is the stream.
APPENDING: Final = {"commit": 1, "cut": 1, "expire": 1, "leave": 2, "list": 2, "resume": 1, "tenant": 2}


@dataclass(frozen=True, slots=True)
class Script:
    text: bytes
    digest: str


def read_scripts(wake_channel: str) -> dict[str, Script]:
    """All scripts by their name; those that append name the stream on `wake_channel`, unless that is ""."""
    return {name: _script(name, wake_channel) for name in SCRIPTS}


def _script(name: str, wake_channel: str) -> Script:
    text = files("registry.store").joinpath("scripts", f"{name}.lua").read_bytes()
    if wake_channel and name in APPENDING:
        text = _announcing(text, wake_channel, APPENDING[name])
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def _announcing(text: bytes, wake_channel: str, stream: int) -> bytes:
    """The same step, which afterwards says that it has appended; not when it has refused."""
    channel = "".join(f"\\{byte:03d}" for byte in wake_channel.encode())
    return b"""local function step()
%s
end
local reply = step()
if type(reply) ~= 'table' or not reply.err then
  redis.call('PUBLISH', '%s', KEYS[%d])
end
return reply
""" % (text, channel.encode(), stream)
