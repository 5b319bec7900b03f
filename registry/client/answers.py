"""Answers: what an HTTP response says about the request, about the address, or about neither."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from registry.client.errors import Refused
from registry.domain.errors import ErrorBody, Unhealthy

#: Characters quoted of a text from somebody else, a proxy perhaps.
_QUOTED_MAX: Final = 120
_decode_error: Final = msgspec.json.Decoder(ErrorBody).decode


class Answer(Struct, frozen=True):
    """What a registry answered. `value` is the decoded body; None when there is none, and when nothing has changed."""

    status: int
    value: Any
    #: X-Resource-Revision; blank where the API has none.
    rev: str
    address: str


class Fault(Exception):
    """This is no answer of a registry that can serve; another address may have one. The message says what it is.

    `code` is that of the registry, 0 where there is none; `status` the HTTP status, 0 without an answer.
    """

    def __init__(self, message: str, code: int = 0, status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def read_answer(status: int, body: bytes, wanted: Any) -> Any:
    """The value of a response.

    Args:
        wanted: the type of the body; None: success has no body.

    Raises:
        Refused: the registry refused the request; every replica would.
        Fault: everything else, from overload to the page of a proxy.
    """
    if status == 304:
        return None
    if not 200 <= status < 300:
        raise _refusal(status, body)
    try:
        if wanted is not None:
            return msgspec.json.decode(body, type=wanted)
        if body.strip():
            msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise Fault(f"answered {status} with what no registry answers: {_quoted(body)}") from exc
    return None


def _refusal(status: int, body: bytes) -> Exception:
    try:
        error = _decode_error(body)
        code = int(error.error_code)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return Fault(f"answered {status}: {_quoted(body)}" if body else f"answered {status}", status=status)
    if status >= 500 or status == 429 or code == Unhealthy.code:
        return Fault(f"answered {status}: {error.error_message}: {error.detail}", code)
    return Refused(code, error.error_message, error.detail)


def _quoted(body: bytes) -> str:
    text = " ".join(body[: _QUOTED_MAX * 2].decode("utf-8", "replace").split())
    return repr(text[:_QUOTED_MAX])
