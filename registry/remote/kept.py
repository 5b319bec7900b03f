"""Kept log-ins: the tokens that `registry login` was given, in a file that only its owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from registry.remote.failing import Exit, Failure

#: Registries at which one user is logged in; of one more the eldest is forgotten.
KEPT_MAX: Final = 100


class Kept(Struct, frozen=True):
    """Who is logged in, and the token. It is sent to the addresses that it was given for, and to no others."""

    user: str
    token: str

    def __repr__(self) -> str:
        return f"Kept({self.user!r})"


_decode: Final = msgspec.json.Decoder(dict[str, Kept]).decode


def folder() -> Path:
    """Where this command keeps what it knows about its user."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "registry"


def tokens_file() -> Path:
    return folder() / "tokens.json"


def kept_at(place: str) -> Kept | None:
    """Who is logged in at this place: addresses with commas between them."""
    return _load().get(place)


def keep(place: str, kept: Kept) -> None:
    others = {key: value for key, value in _load().items() if key != place}
    newest = list(others.items())[-(KEPT_MAX - 1) :]
    _save({**dict(newest), place: kept})


def forget(place: str) -> Kept | None:
    """Forget a log-in; what was kept, if anything was."""
    known = _load()
    found = known.pop(place, None)
    if found is not None:
        _save(known)
    return found


def _load() -> dict[str, Kept]:
    path = tokens_file()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise Failure(Exit.USAGE, f"others may read {path}, which holds tokens; chmod 600 it")
            return _decode(file.read())
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as exc:
        raise Failure(Exit.USAGE, f"{path} cannot be read: {exc}; delete it, and log in again") from exc


def _save(known: dict[str, Kept]) -> None:
    path = tokens_file()
    beside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(known)))
        beside.replace(path)
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise Failure(Exit.USAGE, f"{path} cannot be written: {exc}") from exc
