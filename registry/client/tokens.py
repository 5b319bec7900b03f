"""Tokens: when the token of an account has to be renewed (api-rules.md 3.16)."""

from __future__ import annotations

import base64
import binascii
from typing import Final

import msgspec
from msgspec import Struct

#: Seconds. Of a token that does not say when it ends; the shortest that a registry gives lives for 15 minutes.
LIFE_DEFAULT_S: Final = 600.0
#: A token is renewed when this share of its life has passed.
RENEWED_SHARE: Final = 0.8


class _Claims(Struct, frozen=True):
    exp: float | None = None


def renew_at(token: str, now: float) -> float:
    """When to ask for the next token; seconds since 1970, as `now`. Its claims are read, not verified.

    Never later than the end of the token.
    """
    return now + max(0.0, life_s(token, now)) * RENEWED_SHARE


def life_s(token: str, now: float) -> float:
    """Seconds until the token ends; not above 0 when it has."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
    except (IndexError, binascii.Error, msgspec.MsgspecError, ValueError):
        return LIFE_DEFAULT_S
    return LIFE_DEFAULT_S if claims.exp is None else claims.exp - now
