"""A snapshot is the view of its moment: loaded it answers, and goes on, as the view would have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec import Struct, structs

from registry.domain import snapshot
from registry.domain.dependencies import consumers_of, providers_of
from registry.domain.dump import dump
from registry.domain.errors import RegistryError
from registry.domain.events import (
    DependenciesAdded,
    Event,
    HistoryResumed,
    InstanceUnregistered,
    SchemaPut,
    ServiceUnregistered,
    TagsReplaced,
)
from registry.domain.find import FindQuery, find
from registry.domain.fold import apply
from registry.domain.instance_reads import InstanceQuery, list_instances
from registry.domain.marks import ChunksDigest, Mark, decode_mark, encode_mark
from registry.domain.outcome import Outcome
from registry.domain.position import Position
from registry.domain.sections import (
    REST,
    SECTION_ROWS_MAX,
    Beginning,
    InstancesSection,
    PartDigest,
    RestSection,
    SavedRow,
    Section,
    ServiceSection,
    rest_sections,
    service_sections,
)
from registry.domain.snapshot import FORMAT, Loader, SnapshotUnreadable, take
from registry.domain.steps import at_once
from registry.domain.tenant import Tenant
from registry.domain.view import RegistryView, ServiceRow
from tests.support import strategies
from tests.support.builders import (
    append,
    instance,
    instance_registered,
    microservice,
    service_registered,
    stamp,
    view_of,
)
from tests.support.catching import counterexample
from tests.support.strategies import histories, texts

Placed = tuple[Position, Event]

TENANT = Tenant("dömain", "project")
LAST = b"\0the last event\xff"
_of_a_crowd = st.sampled_from(["i1", "i2", "i3", "i4"])


@st.composite
def crowds(draw: st.DrawFn) -> list[Placed]:
    """Instances of one service that share endpoints, move from some to others, and go."""
    some = st.sampled_from(["rest://1:1", "rest://2:2"])
    register = st.builds(
        lambda id, endpoint: instance_registered(instance("s1", id, endpoints=[endpoint]), chosen=True),
        _of_a_crowd,
        some,
    )
    unregister = _of_a_crowd.map(lambda id: InstanceUnregistered(service_id="s1", instance_id=id, **stamp()._asdict()))
    log: list[Event] = [service_registered(microservice("s1", "cart"))]
    log += draw(st.lists(register | register | unregister, max_size=10))
    return [(Position(7, number), event) for number, event in enumerate(log, 1)]


any_history = histories() | histories(only_ordinary=False) | crowds()
changes = st.one_of(strategies.edits, strategies.descriptions, strategies.removals, strategies.instance_registrations)
long_history = histories(max_size=30)
#: Few, so that a handful of instances fills several sections and chunks.
row_limits = st.sampled_from([1, 2, 3, SECTION_ROWS_MAX])

#: What is prepared for answers, and counted for them. A view that was loaded has prepared nothing.
PREPARED = {"answer", "answers", "drawings", "standing", "token"}
#: Dicts that are looked things up in, and whose order no answer shows.
LOOKED_UP = {"by_endpoints", "groups", "aliases"}


# -- comparing ---------------------------------------------------------------------------------------------------------


def everything(thing: Any, name: str = "") -> Any:
    """All fields, however deep, as plain data; dicts with their order."""
    if isinstance(thing, ServiceRow):
        members = {field.name: getattr(thing, field.name) for field in fields(thing) if field.name not in PREPARED}
        return [(member, everything(value, member)) for member, value in (members | {"group": thing.group.key}).items()]
    if isinstance(thing, dict):
        pairs = [(key, everything(value, name)) for key, value in thing.items()]
        return sorted(pairs) if name in LOOKED_UP else pairs
    if isinstance(thing, Struct):
        return type(thing).__name__, msgspec.msgpack.encode(thing), thing
    return thing


def content(view: RegistryView) -> Any:
    """Everything in the view; of its groups the ids of their services."""
    groups = [
        (key, group.environment, group.app_id, group.service_name, list(group.services))
        for key, group in sorted(view.groups.items())
    ]
    rest = {field.name: getattr(view, field.name) for field in fields(view) if field.name not in PREPARED | {"groups"}}
    return {name: everything(value, name) for name, value in rest.items()} | {"groups": groups}


def assert_same(one: RegistryView, other: RegistryView) -> None:
    assert content(one) == content(other)
    assert answers(one) == answers(other)
    for view in (one, other):
        for service_id, row in view.services.items():
            assert row.group is view.groups[row.group.key]
            assert row.group.services[service_id] is row


def answers(view: RegistryView) -> list[Any]:
    """What clients are told, byte for byte."""
    queries = {(environment, app_id) for environment, app_id, _ in view.groups}
    found: list[Any] = [at_once(dump([view]))]
    for environment, app_id in sorted(queries):
        names = {name for *_, name in (*view.groups, *view.aliases)} | {"*"}
        for name in sorted(names):
            try:
                answer = find(view, FindQuery(app_id, name, environment=environment))
                found.append((answer.rev, answer.body, answer.count))
            except RegistryError as error:
                found.append(error.code)
    for service_id in view.services:
        answer = list_instances(view, InstanceQuery(service_id))
        found.append((answer.rev, answer.body))
        # Which groups `*` stands for first is the subject of a test of its own.
        found.append(sorted(service.service_id for service in providers_of(view, service_id, False)))
        found.append(consumers_of(view, service_id, False))
    return found


def told(outcome: Outcome) -> Any:
    error = outcome.error
    return outcome.id, outcome.changes, outcome.released, error and (type(error), error.code, str(error.detail))


def fold(history: Iterable[Placed], view: RegistryView | None = None) -> RegistryView:
    view = RegistryView(TENANT) if view is None else view
    for position, event in history:
        apply(view, position, event)
    return view


def load(chunks: Iterable[bytes]) -> RegistryView:
    loader = Loader()
    for chunk in chunks:
        loader.add(chunk)
    return loader.view()


def sections(chunk: bytes) -> list[Section]:
    return msgspec.msgpack.decode(chunk, type=list[Section])


# -- there and back ----------------------------------------------------------------------------------------------------


@given(any_history, st.data(), row_limits)
def test_a_view_that_was_loaded_is_the_view_that_was_taken_and_goes_on_alike(
    history: list[Placed], data: st.DataObject, limit: int
) -> None:
    """A replica that starts from a snapshot must answer and decide as those that have read the whole log."""
    cut = data.draw(st.integers(0, len(history)))
    view = fold(history[:cut])
    loader = Loader()
    with patch.object(snapshot, "SECTION_ROWS_MAX", limit):
        chunks = list(take(view, LAST))
    for chunk in chunks:
        loader.add(chunk)
    loaded = loader.view()
    assert loader.last == LAST
    assert_same(loaded, view)
    for position, event in history[cut:]:
        assert told(apply(loaded, position, event)) == told(apply(view, position, event))
        assert content(loaded) == content(view)
    assert_same(loaded, view)
    # What is applied already is known as such.
    for position, event in history:
        assert told(apply(loaded, position, event)) == told(Outcome())
        assert loaded.includes(position) == view.includes(position)
    assert_same(loaded, view)


@given(any_history, row_limits)
def test_equal_views_give_equal_snapshots(history: list[Placed], limit: int) -> None:
    """Replicas compare the bytes of their parts: one that was loaded must not seem to differ for ever."""
    view = fold(history)
    with patch.object(snapshot, "SECTION_ROWS_MAX", limit):
        chunks = list(take(view, LAST))
        assert list(take(load(chunks), LAST)) == chunks


@given(long_history, st.data(), row_limits)
def test_a_snapshot_is_of_the_moment_of_the_call_whatever_happens_while_it_is_drawn(
    history: list[Placed], data: st.DataObject, limit: int
) -> None:
    """A million instances take seconds to write, in which the registry goes on."""
    cut = data.draw(st.integers(0, len(history)))
    view, expected = fold(history[:cut]), fold(history[:cut])
    later = iter(history[cut:])
    with patch.object(snapshot, "SECTION_ROWS_MAX", limit):
        drawing = take(view, LAST)
        loader = Loader()
        fold([placed for placed, _ in zip(later, range(data.draw(st.integers(0, 5))), strict=False)], view)
        for chunk in drawing:
            loader.add(chunk)
            fold([placed for placed, _ in zip(later, range(data.draw(st.integers(0, 3))), strict=False)], view)
    assert_same(loader.view(), expected)
    # Nor does loading one tie it to the view that it was taken from.
    assert_same(fold(history[cut:], loader.view()), fold(history))


@pytest.mark.parametrize("seen", [0, 1])
@given(about=st.data())
def test_whatever_of_a_view_changes_while_a_snapshot_is_drawn_is_not_in_it(seen: int, about: st.DataObject) -> None:
    """Every index is copied at the call: one that is not would mix two moments."""
    began: list[Event] = []
    for service_id in ("s1", "s2", "s3"):
        began.append(service_registered(microservice(service_id)))
        for number in (1, 2, 3):
            content_ = instance(service_id, f"i{number}", endpoints=["rest://1:1"])
            began.append(instance_registered(content_, chosen=True))
        began.append(TagsReplaced(service_id=service_id, tags={"zone": "a"}, **stamp()._asdict()))
        began.append(SchemaPut(service_id=service_id, schema_id="x1", schema="{}", **stamp()._asdict()))
    view, expected = view_of(*began), view_of(*began)
    with patch.object(snapshot, "SECTION_ROWS_MAX", 1):
        drawing = take(view, LAST)
        chunks = [next(drawing) for _ in range(seen)]
        for event in about.draw(st.lists(changes, min_size=1, max_size=4)):
            append(view, event)
        chunks += drawing
    assert content(load(chunks)) == content(expected)


@pytest.mark.parametrize("seen", [0, 1, 4])
def test_a_view_knows_of_a_snapshot_only_while_it_is_drawn(seen: int) -> None:
    """One that was given up must not make every change copy a service for ever."""
    view = view_of(*(service_registered(microservice(service_id)) for service_id in ("s1", "s2", "s3")))
    with patch.object(snapshot, "SECTION_ROWS_MAX", 1):
        drawing, other = take(view, LAST), take(view, LAST)
        for _ in range(seen):
            next(drawing)
        assert len(view.drawings) == 2
        del drawing
        assert len(view.drawings) == 1
        assert len(list(other)) == 4
        assert not view.drawings


@given(any_history, st.integers(1, 3))
def test_a_snapshot_for_a_new_epoch_stands_where_that_begins(history: list[Placed], ahead: int) -> None:
    """A log that begins with a snapshot in the place of its past is read as if the past were still there."""
    view = fold(history)
    resumed = Position(view.position.epoch + ahead, 1)
    loaded = load(take(view, LAST, resumed, stamp().at_ms))
    apply(view, resumed, HistoryResumed(after=view.position.text(), **stamp()._asdict()))
    assert_same(loaded, view)
    assert all(loaded.includes(position) for position, _ in history)


def test_a_snapshot_of_nothing_is_nothing() -> None:
    """A tenant that was merely announced has a view too."""
    loaded = load(take(RegistryView(TENANT), b""))
    assert_same(loaded, RegistryView(TENANT))
    assert loaded.lineage == load(take(RegistryView(TENANT), b"", Position(7, 1))).lineage == {}


def test_a_star_stands_for_its_groups_in_the_same_order_on_every_replica() -> None:
    """Clients page through providers, and compare what they were told; the order must not depend on who restarted."""
    view = view_of(
        service_registered(microservice("s1", "cart")),
        service_registered(microservice("s2", "till")),
        service_registered(microservice("s3", "cart", version="2.0.0")),
        ServiceUnregistered(service_id="s1", **stamp()._asdict()),
        DependenciesAdded(consumer_id="s2", providers=[("", "shop", "*")], **stamp()._asdict()),
    )
    ids = [service.service_id for service in providers_of(view, "s2", False)]
    assert [service.service_id for service in providers_of(load(take(view, LAST)), "s2", False)] == ids


# -- chunks ------------------------------------------------------------------------------------------------------------


def test_chunks_stay_bounded_however_large_a_service_and_however_many_there_are() -> None:
    """A chunk is written, sent and read at once: an unbounded one would hold up heartbeats, or not be sent at all."""
    view = view_of(service_registered(microservice("s1", "cart")))
    for number in range(2 * SECTION_ROWS_MAX + 7):
        append(view, instance_registered(instance("s1", f"i{number}", endpoints=[f"rest://{number % 5000}:1"])))
    for number in range(2 * SECTION_ROWS_MAX):
        append(view, service_registered(microservice(f"t{number}")))
        append(view, instance_registered(instance(f"t{number}", "i")))
    chunks = list(take(view, LAST))
    counts = []
    for chunk in chunks:
        rows = [section.rows for section in sections(chunk) if isinstance(section, InstancesSection)]
        services = sum(isinstance(section, ServiceSection) for section in sections(chunk))
        assert max(map(len, rows), default=0) <= SECTION_ROWS_MAX
        counts.append(sum(map(len, rows)) + services)
    assert max(counts) < 2 * SECTION_ROWS_MAX
    assert sum(counts) == view.instance_count + len(view.services)
    assert len(chunks) >= 4
    assert max(map(len, chunks)) < 2 * SECTION_ROWS_MAX * 1000
    assert content(load(chunks)) == content(view)


# -- damage ------------------------------------------------------------------------------------------------------------


def read(chunks: Iterable[bytes]) -> RegistryView | None:
    """The view, or None when it is refused; anything else is raised and fails the test."""
    try:
        return load(chunks)
    except SnapshotUnreadable:
        return None


def digest_of(chunks: Iterable[bytes]) -> tuple[bytes, int, int]:
    digest = ChunksDigest()
    for chunk in chunks:
        digest.add(chunk)
    return digest.digest(), digest.size, digest.chunks


@st.composite
def snapshots(draw: st.DrawFn, limits: st.SearchStrategy[int] = row_limits) -> list[bytes]:
    with patch.object(snapshot, "SECTION_ROWS_MAX", draw(limits)):
        return list(take(fold(draw(histories())), LAST))


@given(snapshots(), st.data())
def test_a_snapshot_that_was_cut_is_refused(chunks: list[bytes], data: st.DataObject) -> None:
    """Half a registry would have the other half's consumers told that their providers do not exist."""
    kept = data.draw(st.integers(0, len(chunks) - 1))
    assert read(chunks[:kept]) is None
    cut = data.draw(st.integers(0, len(chunks[kept]) - 1))
    assert read([*chunks[:kept], chunks[kept][:cut]]) is None
    assert read([*chunks[:kept], chunks[kept][:cut], *chunks[kept + 1 :]]) is None
    assert read([*chunks[:kept], chunks[kept] + b"\0", *chunks[kept + 1 :]]) is None


@given(snapshots(), st.data())
def test_a_snapshot_without_its_beginning_is_refused(chunks: list[bytes], data: st.DataObject) -> None:
    """Its tenant and its place in the log stand there."""
    assume(len(chunks) > 1)
    assert read(chunks[1:]) is None
    others = data.draw(st.permutations(chunks[1:]))
    assert read([*others, chunks[0]]) is None


@given(snapshots(st.just(1)), st.data())
def test_chunks_behind_the_end_are_refused(chunks: list[bytes], data: st.DataObject) -> None:
    """Chunks in another order, or some of them twice, are another registry."""
    assume(len(chunks) > 1)
    assert read([*chunks, data.draw(st.sampled_from(chunks))]) is None
    middle = data.draw(st.permutations(chunks[1:-1]))
    at = data.draw(st.integers(0, max(len(middle) - 1, 0)))
    if middle:
        assert read([chunks[0], *middle[:at], chunks[-1], *middle[at:]]) is None


@given(snapshots(st.just(1)), st.data())
def test_a_chunk_that_comes_twice_is_refused(chunks: list[bytes], data: st.DataObject) -> None:
    """Its instances would be counted twice."""
    at = data.draw(st.integers(0, len(chunks) - 1))
    assert read([*chunks[: at + 1], *chunks[at:]]) is None


@given(snapshots(), st.data())
def test_a_flipped_bit_is_noticed(chunks: list[bytes], data: st.DataObject) -> None:
    """By the mark's digest, always; and reading such a chunk ends with a refusal or a view, never otherwise."""
    at = data.draw(st.integers(0, len(chunks) - 1))
    damaged = bytearray(chunks[at])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = [*chunks[:at], bytes(damaged), *chunks[at + 1 :]]
    assert digest_of(changed) != digest_of(chunks)
    read(changed)


@given(snapshots(st.just(1)), st.data())
def test_chunks_in_any_other_order_are_noticed(chunks: list[bytes], data: st.DataObject) -> None:
    """By the mark's digest; and reading them ends with a refusal or a view, never otherwise."""
    some = data.draw(st.lists(st.sampled_from(chunks), max_size=len(chunks) + 1))
    assume(some != chunks)
    assert digest_of(some) != digest_of(chunks)
    read(some)


_leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.binary(max_size=4)
plain: st.SearchStrategy[Any] = st.recursive(
    _leaves,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(texts | st.integers(0, 9), some, max_size=3),
    max_leaves=6,
)


@given(snapshots(), st.binary(max_size=40) | plain.map(msgspec.msgpack.encode), st.data())
def test_bytes_that_are_no_chunk_are_refused(chunks: list[bytes], foreign: bytes, data: st.DataObject) -> None:
    """Somebody else's key, or a file of another program, must not end the replica without a word."""
    assume(foreign != b"\x90")
    at = data.draw(st.integers(0, len(chunks)))
    assert read([*chunks[:at], foreign, *chunks[at:]]) is None


@given(snapshots(), plain, st.data())
def test_a_member_of_another_kind_or_value_is_refused_or_read(
    chunks: list[bytes], value: Any, data: st.DataObject
) -> None:
    """No matter what a later version, or a bug, may write: the answer is yes or no."""
    at = data.draw(st.integers(0, len(chunks) - 1))
    whole: Any = msgspec.msgpack.decode(chunks[at])
    replaced = _replace_somewhere(whole, value, data)
    read([*chunks[:at], msgspec.msgpack.encode(replaced), *chunks[at + 1 :]])


def _replace_somewhere(thing: Any, value: Any, data: st.DataObject) -> Any:
    if not isinstance(thing, list | dict) or not thing or data.draw(st.integers(0, 6)) == 0:
        return value
    keys = list(range(len(thing))) if isinstance(thing, list) else list(thing)
    key = data.draw(st.sampled_from(keys))
    thing[key] = _replace_somewhere(thing[key], value, data)
    return thing


def test_bytes_nested_too_deeply_are_refused() -> None:
    """A policy's spec may hold anything, also what no decoder can follow."""
    (chunk,) = take(RegistryView(TENANT), LAST)
    deep = msgspec.msgpack.encode(
        [{"type": "rest", "providers": [], "consumers": [], "policies": [{"spec": {"a": 0}}]}]
    )
    assert read([chunk[:1] + chunk[1:], deep[:-1] + b"\x91" * 100_000]) is None


@pytest.mark.parametrize("version", [0, FORMAT + 1])
def test_a_snapshot_of_an_unknown_format_is_refused(version: int) -> None:
    """During a rolling upgrade an old replica finds the snapshots of a new one."""
    (chunk,) = take(RegistryView(TENANT), LAST)
    beginning, rest = sections(chunk)
    assert isinstance(beginning, Beginning)
    with pytest.raises(SnapshotUnreadable, match=f"format {version}"):
        load([msgspec.msgpack.encode([structs.replace(beginning, format=version), rest])])


# -- marks -------------------------------------------------------------------------------------------------------------

_numbers = st.integers(0, 2**53)
marks = st.builds(Mark, *[_numbers] * 5, st.binary(max_size=20), _numbers, st.text(max_size=5))


@given(marks)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    """It says which snapshot is the newest, and by what it is known."""
    assert decode_mark(encode_mark(mark)) == mark
    assert mark.position == Position(mark.epoch, mark.sequence)


@example(Mark(1, 7, 3, 1, 9, b"", 1, "é"), -1, 6, None)
@given(marks, st.integers(0, 999), st.integers(0, 7), plain)
def test_a_damaged_mark_is_none_or_a_mark(mark: Mark, at: int, bit: int, value: Any) -> None:
    """It must not keep a replica from the other snapshots."""
    written = bytearray(encode_mark(mark))
    at %= len(written)
    assert decode_mark(bytes(written[:at])) is None
    written[at] ^= 1 << bit
    for damaged in (bytes(written), msgspec.msgpack.encode(value)):
        found = decode_mark(damaged)
        assert found is None or isinstance(found, Mark)


# -- parts -------------------------------------------------------------------------------------------------------------


def parts(view: RegistryView) -> dict[str, tuple[Position, bytes]]:
    """Of each part where it last changed, and its bytes, that place left out."""
    found = {}
    for service_id, row in view.services.items():
        first, *others = service_sections(row)
        assert isinstance(first, ServiceSection)
        found[service_id] = row.changed, msgspec.msgpack.encode([structs.replace(first, changed=""), *others])
    return found | {REST: (view.rest_changed, msgspec.msgpack.encode(rest_sections(view)[-1]))}


def parts_are_marked(history: Sequence[Placed]) -> bool:
    """Whether each part that changes says so, and none does so when an event was refused."""
    view = RegistryView(TENANT)
    before = parts(view)
    for position, event in history:
        outcome = apply(view, position, event)
        after = parts(view)
        for part in after.keys() | before.keys():
            was, now = before.get(part), after.get(part)
            if now is None:
                # A service that left is told by the rest.
                if view.rest_changed != position:
                    return False
            elif was is None or was[1] != now[1]:
                if now[0] != position:
                    return False
            elif now[0] != was[0] and (now[0] != position or outcome.error is not None):
                return False
        before = after
    return True


@given(any_history | long_history)
def test_a_part_changes_only_where_it_says_so(history: list[Placed]) -> None:
    """Replicas whose parts changed last at the same place are compared; a false alarm would have them start anew."""
    assert parts_are_marked(history)


def test_a_part_that_changed_in_silence_would_be_caught() -> None:
    """The property above must be able to see."""
    with patch("registry.domain.fold._mark_changed", lambda *_: None):
        assert counterexample(histories(), parts_are_marked) is not None


def digest(*given: Section) -> bytes:
    whole = PartDigest()
    for section in given:
        whole.add(section)
    return whole.digest()


def digests(view: RegistryView) -> dict[str, bytes]:
    found = {service_id: digest(*service_sections(row)) for service_id, row in view.services.items()}
    return found | {REST: digest(rest_sections(view)[-1])}


@given(any_history)
def test_equal_parts_have_equal_digests(history: list[Placed]) -> None:
    """However a replica came by its view: folded, or loaded from a snapshot."""
    view = fold(history)
    assert digests(fold(history)) == digests(load(take(view, LAST))) == digests(view)


def altered(thing: Any, data: st.DataObject) -> Any:
    """Another value of the same kind, different in one place."""
    if isinstance(thing, str):
        return data.draw(st.sampled_from([thing + "x", "x" + thing, thing[1:] or "y"]))
    if isinstance(thing, bytes):
        return data.draw(st.sampled_from([thing + b"\0", thing[1:] or b"y"]))
    if isinstance(thing, bool) or thing is None:
        return not thing
    if isinstance(thing, int):
        return thing + data.draw(st.sampled_from([1, 1000]))
    if isinstance(thing, dict):
        if not thing or data.draw(st.booleans()):
            return thing | {"new": "v"}
        key = data.draw(st.sampled_from(list(thing)))
        return thing | {key: altered(thing[key], data)}
    if isinstance(thing, Struct):
        named = data.draw(
            st.sampled_from([name for name in thing.__struct_fields__ if getattr(thing, name) is not None])
        )
        return structs.replace(thing, **{named: altered(getattr(thing, named), data)})
    assert isinstance(thing, list | tuple)
    if not thing:
        return ["new"]
    at = data.draw(st.integers(0, len(thing) - 1))
    return type(thing)([*thing[:at], altered(thing[at], data), *thing[at + 1 :]])


@given(long_history, st.data())
def test_a_single_difference_in_a_part_shows_in_its_digest(history: list[Placed], data: st.DataObject) -> None:
    """A replica with one wrong byte would go on with it for ever."""
    view = fold(history)
    before = digests(view)
    assume(view.services)
    service_id = data.draw(st.sampled_from(list(view.services)))
    row = view.services[service_id]
    named = data.draw(st.sampled_from(["service", "tags", "schemas", "changed", "instances", "order", "by_endpoints"]))
    shared = [key for key, ids in row.by_endpoints.items() if len(ids) > 1]
    if named == "schemas":
        assume(row.schemas)
        schema_id = data.draw(st.sampled_from(list(row.schemas)))
        row.schemas = row.schemas | {schema_id: altered(row.schemas[schema_id], data)}
    elif named == "changed":
        row.changed = data.draw(st.sampled_from([row.changed.next(), Position(row.changed.epoch + 1, 1)]))
    elif named == "by_endpoints":
        assume(shared)
        row.by_endpoints[shared[0]] = row.by_endpoints[shared[0]][::-1]
    elif named == "order":
        assume(len(row.instances) > 1)
        row.instances = dict(list(row.instances.items())[::-1])
    elif named == "instances":
        assume(row.instances)
        instance_id = data.draw(st.sampled_from(list(row.instances)))
        field = data.draw(st.sampled_from([*SavedRow.__struct_fields__, "gone"]))
        if field == "gone":
            del row.instances[instance_id]
        else:
            saved = row.instances[instance_id]
            row.instances[instance_id] = structs.replace(saved, **{field: altered(getattr(saved, field), data)})
    else:
        setattr(row, named, altered(getattr(row, named), data))
    after = digests(view)
    assert after[service_id] != before[service_id]
    assert after | {service_id: b""} == before | {service_id: b""}


@given(long_history, st.data())
def test_a_single_difference_in_the_rest_shows_in_its_digest(history: list[Placed], data: st.DataObject) -> None:
    """Dependencies decide who is told of a change, policies how it is called."""
    rest = rest_sections(fold(history))[-1]
    named = data.draw(st.sampled_from(RestSection.__struct_fields__))
    assume(getattr(rest, named))
    changed = list(getattr(rest, named))
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(changed) - 1))]
    else:
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at] = altered(changed[at], data)
    other = structs.replace(rest, **{named: changed})
    assert digest(other) != digest(rest)
