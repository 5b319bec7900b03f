"""Keeping: the listings of a consumer in a file, so that it knows its providers when it starts without a registry."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from registry.client.listing import Listing
from registry.client.names import ServiceName
from registry.domain.model import Instance

logger = logging.getLogger(__name__)

#: A file beyond that is not ours.
BYTES_MAX: Final = 64 << 20


class _Kept(Struct, frozen=True):
    name: ServiceName
    instances: list[Instance]
    rev: str


class _File(Struct, frozen=True):
    #: Of another tenant the listings would be wrong.
    tenant: str
    listings: list[_Kept] = field(default_factory=list)


def load(path: Path, tenant: str) -> dict[ServiceName, Listing]:
    """The listings of the file; none when there is none, and none with a line in the log when it cannot be read."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ValueError(f"it is larger than {BYTES_MAX} bytes")
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, msgspec.MsgspecError) as exc:
        logger.warning("the listings in %s are not used: %s", path, exc)
        return {}
    if file.tenant != tenant:
        logger.warning("the listings in %s are not used: they are of tenant %s", path, file.tenant)
        return {}
    return {kept.name: Listing(tuple(kept.instances), kept.rev) for kept in file.listings}


def save(path: Path, tenant: str, listings: Mapping[ServiceName, Listing]) -> None:
    """Replace the file by these listings, whole or not at all; a failure is a line in the log."""
    kept = [_Kept(name, list(listing.instances), listing.rev) for name, listing in listings.items() if listing.rev]
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(msgspec.json.encode(_File(tenant, kept)))
        new.replace(path)
    except OSError as exc:
        logger.warning("the listings cannot be kept in %s: %s", path, exc)
