"""Refusal: what a server answers instead of doing what it was asked, as redis-py's exception of that kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ExecAbortError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

#: By the word that begins the answer. What begins with another word is a ResponseError, and keeps it.
KINDS: Final[Mapping[str, type[RedisError]]] = {
    "ASK": AskError,
    "CLUSTERDOWN": ClusterDownError,
    "CROSSSLOT": ClusterCrossSlotError,
    "ERR": ResponseError,
    "EXECABORT": ExecAbortError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "MOVED": MovedError,
    "NOAUTH": AuthenticationError,
    "NOPERM": NoPermissionError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "WRONGPASS": AuthenticationError,
}
#: The one general error that is about the connection.
TOO_MANY: Final = "ERR max number of clients reached"


def refusal(text: str) -> RedisError:
    """The exception for an error reply, given without its leading `-`."""
    if text == TOO_MANY:
        return RedisConnectionError(text.removeprefix("ERR "))
    word, _, rest = text.partition(" ")
    kind = KINDS.get(word)
    return ResponseError(text) if kind is None else kind(rest)
