"""registry/docs/metrics.md has every series that a replica tells, as the collector tells it, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import registry
from registry.bootstrap import build_replica
from registry.domain.tenant import Tenant
from registry.http_api.metrics import replica_families
from registry.metrics.family import PREFIX, Family, families
from registry.metrics.figures import store_figures
from registry.metrics.tenants import NAMED_MAX
from registry.running.board import AWAY_AFTER_S, WRITE_EVERY_S
from registry.serving.certificates import Certificates
from registry.serving.shared import Limits, Shared
from registry.settings import Settings
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.store.round_trips import RoundTrips
from tests.serving.apps import app
from tests.support.memory_replica import virtual_ms
from tests.support.redis_modes import make_certificates
from tests.support.wires import Lane, fill

PAGE = (Path(registry.__file__).parent / "docs" / "metrics.md").read_text()
#: Of a system on which these are not told, or of several workers only.
ELSEWHERE = {"registry_worker_up"}


async def every_family(folder: Path) -> dict[str, Family]:
    """Of a replica with accounts and TLS to which something has happened."""
    lane = Lane(MemoryServer(virtual_ms), True)
    await fill(lane, 1)
    api = lane.replica.api
    round_trips, files = RoundTrips(), make_certificates(folder)
    try:
        with round_trips.timed("commit"):
            raise OSError
    except OSError:
        pass
    guarded = build_replica(Settings(rbac="on"), MemoryStore(MemoryServer(virtual_ms)), "h:1").api.access
    assert guarded is not None
    told = [
        *Shared(app, None, Limits()).figures(),
        *Certificates(str(files.server), str(files.server_key)).figures(),
        *store_figures(round_trips),
        *guarded.figures(),
    ]
    api.observer.tally("x").add(Tenant("d", "p"), 200, 0.1, 1, 1)
    return {family.name: family for family in (*await replica_families(api), *families(told))}


def _row(family: Family) -> tuple[str, str, str, str]:
    labels = sorted({name for point in family.points for name in point.labels})
    return family.name, family.kind, ", ".join(f"`{name}`" for name in labels), family.help


async def test_every_series_has_a_row_and_every_row_a_series(tmp_path: Path) -> None:
    """Boards and alert rules are written from this page."""
    rows = {
        cells[0].strip("`"): (cells[0].strip("`"), *cells[1:])
        for line in PAGE.splitlines()
        if line.startswith("| `") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    }
    all_told = await every_family(tmp_path)
    told = {name: _row(family) for name, family in all_told.items() if name.startswith(PREFIX)}
    for name in ELSEWHERE:
        assert rows.pop(name)
    assert rows == told, "\n".join("| `{}` | {} | {} | {} |".format(*row) for row in told.values())


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    assert f"the first {NAMED_MAX} " in PAGE
    assert f"{WRITE_EVERY_S:.0f} s old" in PAGE
    assert f"nothing for {AWAY_AFTER_S:.0f} s" in PAGE


def test_series_that_a_page_names_exist(tmp_path: Path) -> None:
    """Of any page: a name that was changed must not live on in one of them."""
    known = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    for page in sorted((Path(registry.__file__).parent / "docs").glob("*.md")):
        named = set(re.findall(r"\bregistry_[a-z_]+[a-z]\b", page.read_text()))
        named = {re.sub(r"_(bucket|count|sum)$", "", name) if name not in known else name for name in named}
        assert named <= known, page.name
