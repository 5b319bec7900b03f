"""`registry export` and `registry import-log`: logs as lines of JSON, with the states that they begin with."""

from __future__ import annotations

import contextlib
import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

from registry.bootstrap import past_log
from registry.domain.errors import RegistryError
from registry.domain.events import Event
from registry.domain.position import ORIGIN, Position, parse_position
from registry.domain.snapshot import Loader, SnapshotUnreadable, take
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView
from registry.history.moments import END, When
from registry.history.past import Past
from registry.running.log_copying import LEFT_OUT, LogCopy
from registry.running.opened_store import chosen_tenants, opened_store
from registry.running.private_redis import CannotStart
from registry.running.progress import Bar, steps
from registry.settings import Settings
from registry.store.port import PastLog

#: What this version writes, and the newest that it reads.
FORMAT: Final = 1
STDOUT: Final = "-"
#: Bytes of a chunk of a state, unpacked; a larger one is damaged.
CHUNK_MAX_BYTES: Final = 256 * 1024 * 1024


class Header(Struct, frozen=True, tag="registry-log"):
    format: int


class TenantLine(Struct, frozen=True, tag="tenant"):
    """The log of a tenant begins. `state`: what it begins with, chunks of a snapshot; none where that is nothing.

    The tenant once more: its log was seeded here with another state than its events led to.
    """

    domain: str
    project: str
    after: str
    state: list[bytes] = []


class EventLine(Struct, frozen=True, tag="event"):
    position: str
    event: Event


class End(Struct, frozen=True, tag="end"):
    """Without it the file is cut short."""

    events: int


Line = Header | TenantLine | EventLine | End
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


# -- export ------------------------------------------------------------------------------------------------------------


async def export(settings: Settings, file: str, only: str) -> int:
    """Write every event that is kept; the exit code. Raises CannotStart."""
    number = 0
    async with opened_store(settings) as store:
        tenants = await chosen_tenants(store, only)
        with _writing(file) as out:
            out.write(_encode(Header(FORMAT)) + b"\n")
            for tenant in tenants:
                number += await _export(past_log(settings, store), tenant, out)
            out.write(_encode(End(number)) + b"\n")
    print(f"written to {file}: {number} events of {len(tenants)} tenants; accounts are left out", file=sys.stderr)
    return 0


async def _export(log: PastLog, tenant: Tenant, out: IO[bytes]) -> int:
    past = Past(log)
    base, head = (await past.eldest(tenant)).view, await log.head(tenant)
    if head == ORIGIN:
        return 0
    out.write(_encode(_tenant_line(base)) + b"\n")
    walk, number = await past.walker(tenant, When(position=base.position)), 0
    with Bar(str(tenant), steps(base.position, head)) as bar:
        async for position, event, _ in walk.until(END):
            if walk.began_anew:
                out.write(_encode(_tenant_line(walk.view)) + b"\n")
            out.write(_encode(EventLine(position.text(), event)) + b"\n")
            number += 1
            bar.step()
    return number


def _tenant_line(view: RegistryView) -> TenantLine:
    state = [zlib.compress(chunk) for chunk in take(view, b"")] if view.position != ORIGIN else []
    return TenantLine(view.tenant.domain, view.tenant.project, view.position.text(), state)


@contextlib.contextmanager
def _writing(file: str) -> Iterator[IO[bytes]]:
    """A file that is there when all of it is. Raises CannotStart."""
    if file == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    unfinished = path.with_name(f".{path.name}.new")
    try:
        with gzip.open(unfinished, "wb") if path.suffix == ".gz" else unfinished.open("wb") as out:
            yield out  # type: ignore[misc]  # a GzipFile writes bytes too
        unfinished.replace(path)
    except OSError as exc:
        raise CannotStart(f"{file} cannot be written: {exc.strerror}") from exc
    finally:
        unfinished.unlink(missing_ok=True)


# -- import ------------------------------------------------------------------------------------------------------------


async def import_log(settings: Settings, file: str) -> int:
    """Write the logs of a file to a store that has none of these tenants; the exit code. Raises CannotStart."""
    events, ended = 0, False
    copies: dict[Tenant, LogCopy] = {}
    async with opened_store(settings) as store:
        copy: LogCopy | None = None
        with Bar(file, 0) as bar:
            for line in _lines(file):
                match line:
                    case TenantLine():
                        tenant = Tenant(line.domain, line.project)
                        if tenant in copies:
                            await copies[tenant].seed(_state(line))
                            continue
                        if await store.head(tenant) != ORIGIN:
                            raise CannotStart(f"{tenant} has a log already")
                        if copy is not None:
                            await copy.flush()
                        copy = copies[tenant] = LogCopy(store, _state(line))
                        await copy.begin()
                    case EventLine():
                        if copy is None:
                            raise CannotStart(f"{file} has an event before any tenant")
                        await copy.add(_position(line.position), line.event)
                        events += 1
                        bar.step()
                    case End():
                        ended = line.events == events
        if copy is not None:
            await copy.flush()
    if not ended:
        raise CannotStart(f"{file} is cut short; what it holds up to there, {events} events, was imported")
    left_out = sum(copy.left_out for copy in copies.values())
    print(f"imported from {file}: {events - left_out} events of {len(copies)} tenants", file=sys.stderr)
    if left_out:
        print(LEFT_OUT.format(left_out), file=sys.stderr)
    return 0


def _lines(file: str) -> Iterator[Line]:
    """Raises CannotStart where the file cannot be read."""
    path = Path(file)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as opened_file:
            for number, text in enumerate(opened_file, 1):
                line: Line = _decode(text)
                if (number == 1) != isinstance(line, Header):
                    raise CannotStart(f"{file} is no export of a log")
                if isinstance(line, Header) and line.format > FORMAT:
                    raise CannotStart(f"{file} has format {line.format}, this version reads up to {FORMAT}")
                yield line
    except OSError as exc:
        raise CannotStart(f"{file} cannot be read: {exc.strerror or exc}") from exc
    except (msgspec.MsgspecError, EOFError, zlib.error, UnicodeDecodeError) as exc:
        raise CannotStart(f"{file} cannot be read: {exc}") from exc


def _state(line: TenantLine) -> RegistryView:
    if not line.state:
        return RegistryView(Tenant(line.domain, line.project))
    loader = Loader()
    try:
        for chunk in line.state:
            loader.add(zlib.decompressobj().decompress(chunk, CHUNK_MAX_BYTES))
        return loader.view()
    except (SnapshotUnreadable, zlib.error) as exc:
        raise CannotStart(f"the state of {line.domain}/{line.project} cannot be read: {exc}") from exc


def _position(text: str) -> Position:
    try:
        return parse_position(text)
    except (ValueError, RegistryError) as exc:
        raise CannotStart(str(exc)) from exc
