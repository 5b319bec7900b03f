"""PastWire: what a replica and the process that reads the past say to each other, over a Unix socket.

Frames of a length (4 bytes, big-endian) and MessagePack: a question with its number, an answer with the same number.
"""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import msgspec

import registry
from registry.domain.errors import Withheld
from registry.http_api.carried import Carried
from registry.http_api.reply import Reply
from registry.running.socket_folder import SOCKET_PATH_MAX
from registry.settings import Settings

#: Bytes of one frame: an answer of the largest size that can be set, and its head.
FRAME_MAX_BYTES: Final = 1 << 30
_LENGTH: Final = 4
_DIGEST_BYTES: Final = 8

T = TypeVar("T")


class PastUnavailable(Withheld):
    """The process that reads the past cannot answer now."""

    message = "The past cannot be read now"


class Question(msgspec.Struct, frozen=True, array_like=True):
    number: int
    call: Carried


class Answered(msgspec.Struct, frozen=True, array_like=True):
    number: int
    reply: Reply


_encode = msgspec.msgpack.Encoder().encode


def frame(message: Question | Answered) -> bytes:
    encoded = _encode(message)
    return len(encoded).to_bytes(_LENGTH) + encoded


async def read_frame(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[T]) -> T:
    """The next message. Raises IncompleteReadError at the end, and OSError."""
    length = int.from_bytes(await reader.readexactly(_LENGTH))
    if length > FRAME_MAX_BYTES:
        raise ConnectionError(f"a frame of {length} bytes")
    return decoder.decode(await reader.readexactly(length))


def socket_path(settings: Settings) -> Path:
    """Where the process listens that answers for these settings: one per machine, user, store and version.

    Raises:
        PastUnavailable: there is no folder that only this user can write to.
    """
    folder = Path(tempfile.gettempdir()) / f"registry.past-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as exc:
        raise PastUnavailable(f"no folder for its socket: {exc}") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PastUnavailable(f"{folder} can be written to by others")
    told = (
        *(settings.redis_url, settings.redis_prefix, settings.redis_timeout_s, settings.shared_services),
        *(settings.answer_max_bytes, settings.past_max_bytes, registry.__version__, registry.__file__),
    )
    path = folder / blake2b(repr(told).encode(), digest_size=_DIGEST_BYTES).hexdigest()
    if len(os.fsencode(path)) > SOCKET_PATH_MAX:
        raise PastUnavailable(f"{path} is too long for a socket; a shorter TMPDIR helps")
    return path
