"""MemoryReplica: a replica's parts over a `MemoryServer`, each step taken by the test; and a loop whose time jumps."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, TypeVar

from registry.clock import Clock
from registry.domain.errors import StoreUnavailable
from registry.domain.events import Event, decode_event, encode_event
from registry.domain.position import ORIGIN, Position
from registry.domain.retention import Retention
from registry.domain.sections import PartDigest, rest_sections, service_sections
from registry.domain.tenant import DEFAULT_TENANT, Tenant
from registry.domain.view import RegistryView
from registry.projection.projector import Projector
from registry.store.lease import Lease, Write
from registry.store.memory_server import MemoryServer
from registry.store.memory_store import MemoryStore
from registry.upkeep.agreement import Agreement
from registry.upkeep.clearing import Clearing
from registry.upkeep.expiry import Expiry
from registry.upkeep.forgetting import Forgetting
from registry.upkeep.protection import MassLapse, Protection
from registry.upkeep.pulses import Pulses
from registry.upkeep.snapshotting import Snapshotting
from registry.usecases.heartbeats import Heartbeats
from registry.usecases.instances import Instances
from registry.usecases.metadata import Metadata
from registry.usecases.microservices import Microservices
from registry.usecases.writers import Writers
from registry.usecases.writes import WAITING_BYTES_MAX, Writes

R = TypeVar("R")

#: Virtual seconds between two looks at a condition.
STEP_S: Final = 0.1
#: Unix seconds at which virtual time begins.
BEGIN_S: Final = 1_700_000_000.0
#: What a replica asks of its store. `lapses` is left out: it only prompts.
STORE_CALLS: Final = (
    *(
        "add_tenant",
        "forget_tenant",
        "head",
        "heads",
        "read",
        "entry",
        "eldest",
        "commit",
        "beat",
        "revive",
        "expire",
        "remaining",
        "rearm",
        "pulse",
    ),
    "resume_history",
)
SNAPSHOT_CALLS: Final = ("marks", "chunk", "put_chunk", "put_mark", "drop", "trim", "hold", "exchange")
LEFTOVER_CALLS: Final = ("notices", "strike", "clear")
#: For how long (ms) a tenant has to be empty to be forgotten, and its log stays after that.
FORGET_AFTER_MS: Final = 86_400_000
HISTORY_MS: Final = 43_200_000
#: Seconds after which a run that has not ended is given up: virtual ones, so that they cost nothing.
RUN_MAX_S: Final = 100_000.0


# -- time --------------------------------------------------------------------------------------------------------------


class _JumpingSelector(selectors.SelectSelector):
    """Where a loop would wait, its time jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = BEGIN_S

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing is ready and nothing is scheduled: it would wait for ever"
        self.now_s += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: to sleep for a minute takes as long as what happens meanwhile."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping.now_s

    def run_in_executor(  # type: ignore[override]  # the base is generic over the arguments
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """At once and here: a thread would take time that does not pass."""
        future = self.create_future()
        future.set_result(func(*args))
        return future


#: For a module's `anyio_backend` fixture: its tests run in virtual time.
VIRTUAL: Final[tuple[str, dict[str, Any]]] = ("asyncio", {"loop_factory": VirtualLoop})


async def elapse(seconds: float) -> None:
    """Let virtual time pass, which costs nothing."""
    assert isinstance(asyncio.get_running_loop(), VirtualLoop), "real time would pass"
    await asyncio.sleep(seconds)


async def elapse_until(condition: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    """Let virtual time pass until the condition holds; fail naming `what` when it does not come true in time."""
    for _ in range(round(limit_s / STEP_S)):
        if condition():
            return
        await elapse(STEP_S)
    raise TimeoutError(f"waited {limit_s} virtual seconds for: {what}")


def virtual_ms() -> int:
    """The time of the loop that runs, Unix ms."""
    return round(asyncio.get_running_loop().time() * 1000)


def run(main: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run a coroutine to its end in virtual time."""

    async def limited() -> R:
        async with asyncio.timeout(RUN_MAX_S):
            return await main()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(limited())


# -- a store that fails ------------------------------------------------------------------------------------------------


class FlakyStore(MemoryStore):
    """A connection whose calls the test can see, fail, hold up, or let happen without an answer.

    `before` and `after` are awaited around each call with its name, and may raise.
    """

    def __init__(self, server: MemoryServer, followed_max: int = 64) -> None:
        super().__init__(server, followed_max=followed_max)
        self.calls: list[str] = []
        self.before: Callable[[str], Awaitable[None]] = _nothing
        self.after: Callable[[str], Awaitable[None]] = _nothing
        for name in STORE_CALLS:
            setattr(self, name, self._around(name, getattr(self, name)))
        for name in SNAPSHOT_CALLS:
            setattr(self.snapshots, name, self._around(name, getattr(self.snapshots, name)))
        for name in LEFTOVER_CALLS:
            setattr(self.leftovers, name, self._around(name, getattr(self.leftovers, name)))

    def _around(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*args: Any, **named: Any) -> Any:
            self.calls.append(name)
            await self.before(name)
            answer = await call(*args, **named)
            await self.after(name)
            return answer

        return called

    def go_away(self) -> None:
        """From now on every call fails."""
        self.before = _fail

    def hang(self) -> None:
        """From now on no call is answered."""
        self.before = _hang

    def come_back(self) -> None:
        self.before = self.after = _nothing

    def fail_call(self, number: int, happens: bool = False) -> None:
        """Fail the call of that number from now (0: the next), and no other. `happens`: only its answer is lost."""
        left = number

        async def count(name: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                await _fail(name)

        self.come_back()
        if happens:
            self.after = count
        else:
            self.before = count


async def _nothing(name: str) -> None:
    return None


async def _fail(name: str) -> None:
    raise StoreUnavailable(f"{name} was lost on its way")


async def _hang(name: str) -> None:
    await asyncio.Event().wait()


# -- a replica ---------------------------------------------------------------------------------------------------------


class MemoryReplica:
    """All parts of one replica, none of them running: it reads, sweeps, compares when the test says so."""

    def __init__(
        self,
        server: MemoryServer,
        name: str,
        clock: Clock | None = None,
        *,
        lapse: MassLapse | None = None,
        retention: Retention | None = None,
        followed_max: int = 64,
        waiting_max_bytes: int = WAITING_BYTES_MAX,
    ) -> None:
        self.name = name
        self.clock = clock or Clock(virtual_ms, virtual_ms)
        self.store = FlakyStore(server, followed_max)
        self.projector = Projector(self.store, name, self.clock)
        self.writes = Writes(self.store, self.projector, self.clock, waiting_max_bytes=waiting_max_bytes)
        self.heartbeats = Heartbeats(self.store, self.projector)
        self.instances = Instances(self.writes, self.heartbeats, lambda: f"new-{name}")
        self.services = Microservices(self.writes)
        self.metadata = Metadata(self.writes, lambda: f"new-{name}")
        self.protection = Protection(lapse or MassLapse(), self.clock)
        self.pulses = Pulses(self.store, self.projector, self.clock, 10_000)
        self.writers = Writers(name, self.clock)
        self.expiry = Expiry(
            *(self.store, self.projector, self.writes, self.clock, self.pulses, self.protection, self.writers)
        )
        self.snapshotting = Snapshotting(self.store, self.projector, self.clock, retention or Retention())
        self.agreement = Agreement(self.store, self.projector, self.snapshotting, self.clock)
        self.forgetting = Forgetting(self.store, self.projector, self.clock, FORGET_AFTER_MS)
        self.clearing = Clearing(self.store, self.projector, HISTORY_MS)

    @property
    def view(self) -> RegistryView:
        return self.projector.view(DEFAULT_TENANT)

    async def follow(self) -> None:
        """Read all that there is, and mend what the reading shows to be broken."""
        await self.projector.start()

    async def look(self) -> None:
        """Follow, and compare the log's head with the own position, as every pulse does."""
        await self.follow()
        await self.projector.proving.check(DEFAULT_TENANT, await self.store.head(DEFAULT_TENANT))
        await self.follow()

    async def after_a_break(self, for_s: float = 30) -> None:
        """Run the projector, its first read failing, so that it proves its place in the log."""
        self.store.fail_call(0)
        running = asyncio.create_task(self.projector.reading.run())
        done, _ = await asyncio.wait((running,), timeout=for_s)
        self.store.come_back()
        running.cancel()
        await asyncio.wait((running,))
        if done:
            running.result()


async def append(server: MemoryServer, *events: Event, tenant: Tenant = DEFAULT_TENANT) -> list[Position]:
    """Append events behind the head, as some replica would that holds all before; instances get their leases."""
    store = MemoryStore(server)
    await store.add_tenant(tenant)
    head = await store.head(tenant)
    positions = await store.commit(tenant, head.epoch, [Write(encode_event(event), _grants(event)) for event in events])
    return [position for position in positions if position is not None]


def _grants(event: Event) -> tuple[Lease, ...]:
    instance = getattr(event, "instance", None)
    if instance is None:
        return ()
    return (Lease(instance.service_id, instance.instance_id, instance.health_check.ttl_ms()),)


def log_of(server: MemoryServer, tenant: Tenant = DEFAULT_TENANT) -> list[tuple[Position, Event]]:
    """What the log holds now."""
    return [(position, decode_event(payload)) for position, payload in server.of(tenant).events]


async def cut(server: MemoryServer, length: int, tenant: Tenant = DEFAULT_TENANT) -> None:
    """The server comes back, after a second, with the log's first `length` entries only, and no lease."""
    await elapse(1)
    data = server.of(tenant)
    del data.events[length:]
    data.head = data.events[-1][0] if data.events else ORIGIN
    data.leases.clear()


async def empty(server: MemoryServer) -> None:
    """The server comes back, after a second, without any data."""
    await elapse(1)
    server.tenants.clear()
    server.data.clear()


def digests(view: RegistryView) -> dict[str, bytes]:
    """What replicas compare of a view: everything that is in it, service by service, "" for the rest."""
    found: dict[str, bytes] = {}
    for service_id, row in view.services.items():
        part = PartDigest()
        for section in service_sections(row):
            part.add(section)
        found[service_id] = part.digest()
    rest = PartDigest()
    for other in rest_sections(view):
        rest.add(other)
    return found | {"": rest.digest()}


def restamped(events: Iterable[Event], replica: str, at_ms: int, step_ms: int = 10) -> Sequence[Event]:
    """The same events as written by one replica, one after the other."""
    stamped: list[Event] = []
    for number, event in enumerate(events, 1):
        fields = {name: getattr(event, name) for name in event.__struct_fields__}
        fields |= {"replica": replica, "number": number, "at_ms": at_ms + number * step_ms}
        stamped.append(type(event)(**fields))
    return stamped
