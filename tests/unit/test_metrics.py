"""What is counted, how it is put together, and how it is told."""

from __future__ import annotations

import math
import os
import struct
import time
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from registry.domain.tenant import Tenant
from registry.histogram import SECONDS, Histogram
from registry.metrics.exposition import of_process, render
from registry.metrics.family import Family, encode_families, families, together
from registry.metrics.figure import Figure, Spread, Told
from registry.metrics.tenants import NAMED_MAX, OTHERS, TenantCounts
from registry.running.board import AWAY_AFTER_S, Board, Place, make_pieces
from tests.support.figures import metrics, scraped, series

NAMES = st.sampled_from(["instances", "queue_length", "requests_total"])
LABELS = st.dictionaries(st.sampled_from(["kind"]), st.text(max_size=8), min_size=1)
NUMBERS = st.floats(allow_nan=False, width=32)


@given(st.lists(st.floats(min_value=0, max_value=20, allow_nan=False)))
def test_histogram_counts_each_value_in_the_smallest_bucket_that_holds_it(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    assert histogram.count == len(values)
    assert math.isclose(histogram.sum, sum(values), abs_tol=1e-9)
    for place, bound in enumerate((*SECONDS, math.inf)):
        assert sum(histogram.counts[: place + 1]) == sum(value <= bound for value in values)


@st.composite
def told(draw: st.DrawFn) -> list[Told]:
    """Figures without one that is there twice."""
    found: dict[tuple[str, str], Told] = {}
    for name, labels, value in draw(st.lists(st.tuples(NAMES, LABELS, NUMBERS))):
        found[name, labels["kind"]] = Figure(name, f"help of {name}", value, name.endswith("_total"), labels)
    for kind, values in draw(st.dictionaries(st.text(max_size=8), st.lists(st.floats(0, 20)))).items():
        histogram = Histogram()
        for value in values:
            histogram.add(value)
        found["append_seconds", kind] = Spread("append_seconds", "help", histogram, {"kind": kind})
    return list(found.values())


@given(told())
def test_what_is_told_is_what_a_scrape_reads(figures: list[Told]) -> None:
    """Whatever the labels hold: quotes, line ends, any letter."""
    read = scraped(render(families(figures)))
    for one in figures:
        name = f"registry_{one.name}"
        if isinstance(one, Figure):
            assert read[series(name, **one.labels)] == one.value
            continue
        total = 0
        for bound, count in zip((*one.histogram.bounds, math.inf), one.histogram.counts, strict=True):
            total += count
            le = "+Inf" if bound == math.inf else str(float(bound))
            at = next(v for (n, ls), v in read.items() if n == f"{name}_bucket" and _is(ls, one.labels, bound))
            assert at == total, le
        assert read[series(f"{name}_count", **one.labels)] == total
        assert math.isclose(read[series(f"{name}_sum", **one.labels)], one.histogram.sum)


def _is(labels: tuple[tuple[str, str], ...], wanted: object, bound: float) -> bool:
    found = dict(labels)
    return float(found.pop("le")) == bound and found == dict(wanted)  # type: ignore[call-overload]


@given(st.dictionaries(st.sampled_from("0123"), told()))
def test_workers_are_told_together_and_each_as_itself(by_worker: dict[str, list[Told]]) -> None:
    """Nothing is added up, nothing is lost, and the text holds each name once."""
    text = render(together({worker: families(figures) for worker, figures in by_worker.items()}))
    expected = {}
    for worker, figures in by_worker.items():
        for (name, labels), value in scraped(render(families(figures))).items():
            expected[series(name, **dict(labels), worker=worker)] = value
    assert scraped(text) == expected
    types = [line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE ")]
    assert len(types) == len(set(types))


def test_process_and_garbage_collection_are_told() -> None:
    names = {metric.name for metric in metrics(render(of_process()))}
    assert {"process_cpu_seconds", "process_resident_memory_bytes", "python_gc_collections", "python_info"} <= names


def test_only_so_many_tenants_are_counted_by_name_and_made_up_ones_never() -> None:
    """A client that makes up tenants takes no place from those that exist, and adds no line."""
    counts = TenantCounts()
    counts.exists = lambda tenant: tenant.domain.startswith("real")
    for number in range(NAMED_MAX):
        counts.add(Tenant(f"made-up-{number}", "p"))
    for number in range(NAMED_MAX + 3):
        counts.add(Tenant(f"real-{number}", "p"))
    counts.add(Tenant("real-0", "p"))
    told = {figure.labels["tenant"]: figure.value for figure in counts.figures()}
    assert len(told) == NAMED_MAX + 1
    assert told["real-0/p"] == 2
    assert told[f"real-{NAMED_MAX - 1}/p"] == 1
    assert told[OTHERS] == NAMED_MAX + 3


# -- the board of the workers ------------------------------------------------------------------------------------------


def board(pieces: list[int], own: int, value: float) -> Board:
    async def tell() -> list[Family]:
        return families([Figure("instances", "help", value)])

    return Board(Place(own, pieces), tell)


def value_of(told: object) -> float:
    assert isinstance(told, list)
    (family,) = told
    assert isinstance(family, Family)
    return family.points[0].value


async def test_worker_tells_its_own_figures_as_of_now_and_what_the_others_have_written() -> None:
    pieces = make_pieces(2)
    other, here = board(pieces, 1, 7), board(pieces, 0, 5)
    assert (await here.families())["1"] == []
    await other.write()
    found = await here.families()
    assert value_of(found["0"]) == 5
    assert value_of(found["1"]) == 7
    for piece in pieces:
        os.close(piece)


async def test_worker_that_has_written_nothing_lately_or_is_interrupted_is_away() -> None:
    """Half of something must not be taken for figures."""
    pieces = make_pieces(2)
    here = board(pieces, 0, 5)
    data = encode_families(families([Figure("instances", "help", 7)]))
    head = struct.Struct(">QId")
    os.pwrite(pieces[1], head.pack(len(data), crc32(data), time.monotonic() - AWAY_AFTER_S) + data, 0)
    assert (await here.families())["1"] == []
    os.pwrite(pieces[1], head.pack(len(data), crc32(data), time.monotonic()) + data, 0)
    assert value_of((await here.families())["1"]) == 7
    os.pwrite(pieces[1], b"\x00", head.size + len(data) - 1)
    assert (await here.families())["1"] == []
    for piece in pieces:
        os.close(piece)
