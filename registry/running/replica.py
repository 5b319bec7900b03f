"""Run one replica: the HTTP server and the loops side by side. The first to fail stops them all.

A replica that has lost its projector must not go on answering from a view that nobody updates.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final

from registry.access.passwords import complaint
from registry.accounts_setup import read_keys, root_password
from registry.bootstrap import Replica, build_replica, redis_store
from registry.domain.accounts import ROOT
from registry.domain.errors import StoreUnavailable
from registry.domain.position import ORIGIN
from registry.domain.tenant import ACCOUNTS
from registry.http_api.client_address import TrustedProxies
from registry.http_api.door import Door
from registry.http_api.metrics import replica_families
from registry.http_api.operations import PROBES
from registry.metrics.figures import store_figures
from registry.running.announcing import about_store, loaded, say_started, say_stopped
from registry.running.board import Board, Place
from registry.running.listening import Sockets, Speech, host_port, listen
from registry.running.memory import give_back_after_departures, give_back_large_pieces
from registry.running.past_line import PastLine
from registry.running.private_redis import CannotStart
from registry.running.signals import stop_signals
from registry.serving.certificates import BadCertificates, Certificates
from registry.serving.lane import Lane
from registry.serving.server import Entrance, Server, plain, probes, secure
from registry.serving.shared import Limits, Shared
from registry.settings import Settings, variable
from registry.store.damage import Damaged
from registry.store.diagnosis import diagnose
from registry.store.redis_check import StoreRefused
from registry.upkeep.gathering import Gathering

if TYPE_CHECKING:
    from registry.running.otel_spans import OtelSpans

logger = logging.getLogger(__name__)

#: New containers until the youngest generation is looked at, and how many such looks come before one at the next. A
#: look at 10,000 containers that stay takes some ten milliseconds, in which nobody is answered.
GC_THRESHOLDS: Final = (2_000, 5, 1_000)
#: Files that are open beside clients: connections to Redis take more than half of them.
OTHER_FILES: Final = 128
#: Seconds after which a loop that has not ended is cancelled again.
CANCEL_AGAIN_S: Final = 0.5


def advertised(settings: Settings, bound: Sockets) -> str:
    """HOST:PORT under which clients reach the replica: by TLS, where it speaks that."""
    if settings.advertise:
        return settings.advertise
    host, port = settings.host, bound["https" if "https" in bound else "http"].getsockname()[1]
    if host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return host_port(host, port)


def console_url(settings: Settings, bound: Sockets) -> str:
    """Where a person on this machine finds the console; "" where there is none."""
    speech: Speech = "https" if "https" in bound else "http"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    place = host_port(host, bound[speech].getsockname()[1])
    return f"{speech}://{place}/console/" if settings.console else ""


def connections_max(settings: Settings) -> int:
    """How many clients may be connected: as the settings say, and as files may be open."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = settings.connections_max
    return most if files == resource.RLIM_INFINITY else min(most, max(files - OTHER_FILES, 1))


def open_spans(settings: Settings, name: str) -> OtelSpans | None:
    """Where traces go, None without `REGISTRY_TRACES`: then nothing of OpenTelemetry is imported here.

    Raises:
        CannotStart: it is not installed.
    """
    if not settings.traces:
        return None
    try:
        from registry.running.otel_spans import OtelSpans
    except ImportError as exc:
        needed = "pip install 'servicecomb-registry[otel]'"
        raise CannotStart(f"{variable('traces')} is on, but OpenTelemetry is not installed: {needed}") from exc
    return OtelSpans(name)


def check_certificates(settings: Settings) -> Certificates | None:
    """What TLS needs, None without TLS.

    Raises:
        CannotStart: it cannot be used.
    """
    if not settings.tls_cert_file:
        return None
    try:
        return Certificates(
            settings.tls_cert_file,
            settings.tls_key_file,
            settings.tls_ca_file,
            settings.tls_client_certs,  # type: ignore[arg-type]  # checked with the settings
        )
    except BadCertificates as exc:
        raise CannotStart(str(exc)) from exc


async def run_replica(
    settings: Settings,
    name: str,
    bound: Sockets,
    started: Callable[[], None],
    place: Place | None = None,
    data_dir: str = "",
) -> None:
    """Run until a stop is asked for, or until a part fails, which is raised.

    Args:
        name: what the replica is called everywhere.
        started: says where it listens.
        place: of one of several workers.
        data_dir: where a private Redis keeps the data; "" where it is not private.

    Raises:
        CannotStart: Redis cannot be reached or relied on.
    """
    began_s = time.monotonic()
    stop = _stop_signal()
    store = redis_store(settings)
    spans = store.round_trips.spans = open_spans(settings, name)
    replica = build_replica(settings, store, advertised(settings, bound), name=name, spans=spans)
    replica.api.past = line = PastLine(settings)
    replica.api.figures.append(lambda: store_figures(store.round_trips))
    certificates = check_certificates(settings)
    if certificates is not None:
        give_back_large_pieces()
    try:
        if await _unless(stop, _part("start", _open(settings, replica))):
            listen(bound)  # before anybody is told of this replica
            read, about = loaded(replica, began_s), await about_store(replica)
            console = console_url(settings, bound)

            def say() -> None:
                started()
                say_started(replica, read, about, data_dir, console)

            server = _server(settings, replica, bound, certificates, say)
            gathering = Gathering(replica.projector.views, replica.expiry.renew)
            besides = {"memory": give_back_after_departures(lambda: replica.projector.instances, gathering.gather)}
            if certificates is not None:
                besides["certificates"] = certificates.follow()
            if place is not None:
                board = replica.api.workers = Board(place, lambda: replica_families(replica.api))
                besides["board"] = board.run()
            await _run_parts(settings, replica, server, besides, stop)
            say_stopped(replica, began_s)
    finally:
        line.close()
        await store.close()
        if spans is not None:
            await spans.close()


def _stop_signal() -> asyncio.Event:
    """Set by a signal to stop from now on. `asyncio.Runner` would cancel once, which something may swallow."""
    stop = asyncio.Event()
    for signum in stop_signals():
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    return stop


async def _unless(stop: asyncio.Event, task: asyncio.Task[None]) -> bool:
    """Wait for the task; False when the stop comes first: then it has been cancelled, until it ended."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        ended = task.done()
    finally:
        await _cancel(stopping)
        await _cancel(task)
    if ended:
        task.result()
    return ended


@contextlib.contextmanager
def _calm_collector() -> Iterator[None]:
    """Let the garbage collector look seldom, and never at what was there before the first request.

    Views hold next to nothing that it could free: rows are no containers, and go by their reference count.
    """
    gc.collect()
    gc.disable()  # what is read stays: to look through it again and again is a fifth of a start
    try:
        yield
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
    finally:
        gc.enable()


@contextlib.contextmanager
def starting(url: str) -> Iterator[None]:
    """What fails is told in one sentence; and Ctrl-C counts, also when redis-py has swallowed it (`_cancel`)."""
    try:
        yield
    except StoreUnavailable as exc:
        raise CannotStart(diagnose(exc, url)) from exc
    except StoreRefused as exc:
        raise CannotStart(str(exc)) from exc
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def check_store(settings: Settings) -> None:
    """Raise CannotStart when Redis cannot be reached or relied on."""
    store = redis_store(settings)
    try:
        with starting(settings.redis_url):
            await store.open()
            if settings.rbac != "off":
                read_keys(settings)
                if await store.head(ACCOUNTS) == ORIGIN:
                    _check_root_password(settings)
    finally:
        await store.close()


async def _open(settings: Settings, replica: Replica) -> None:
    """Reach the tail of the log before the first request, with leases re-armed if the registry was away."""
    with starting(settings.redis_url), _calm_collector():
        await replica.store.open()
        with contextlib.suppress(Damaged):
            await replica.formats.announce()  # before anybody writes what this version cannot read
        await replica.projector.start()
        await replica.pulses.pulse()


def _server(
    settings: Settings,
    replica: Replica,
    bound: Sockets,
    certificates: Certificates | None,
    started: Callable[[], None],
) -> Server:
    lane = Lane(replica.api, replica.door) if settings.fast_lane and replica.api.spans is None else None
    limits = Limits(
        head_timeout_s=settings.head_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        idle_timeout_s=settings.keep_alive_s,
        send_timeout_s=settings.send_timeout_s,
        unsent_max_bytes=settings.unsent_max_bytes,
        watch_max_bytes=settings.watch_max_bytes,
        handshake_timeout_s=settings.tls_handshake_timeout_s,
        connections_max=connections_max(settings),
        connections_per_address=settings.connections_per_address,
        websockets_max=settings.websockets_max,
        websockets_per_address=settings.websockets_per_address,
        bodies_max_bytes=settings.bodies_max_bytes,
        head_max_bytes=settings.head_max_bytes,
        headers_max=settings.headers_max,
    )
    proxies = TrustedProxies(settings.trusted_proxies)
    shared = Shared(replica.door, lane, limits, replica.stale_s, proxies=proxies)
    replica.api.figures.append(shared.figures)
    entrances: list[Entrance] = []
    for speech, one in bound.items():
        match speech:
            case "http":
                entrances.append(plain(one, shared))
            case "https":
                assert certificates is not None
                entrances.append(secure(one, shared, certificates))
                replica.api.figures.append(certificates.figures)
            case "probes":
                entrances.append(probes(one, shared, Door(replica.api, PROBES)))
    return Server(shared, entrances, settings.stop_timeout_s, started)


async def _run_parts(
    settings: Settings,
    replica: Replica,
    server: Server,
    besides: dict[str, Coroutine[Any, Any, None]],
    stop: asyncio.Event,
) -> None:
    # Before the first write: another replica that starts at the same time may write in between, and reading brings it.
    projector = _part("projector", replica.projector.reading.run())
    try:
        await replica.registration.register()
    except Damaged:
        pass  # the registry's own tenant is set aside: the others are served, and it registers as soon as it can
    except StoreUnavailable as exc:
        await _cancel(projector)
        raise CannotStart(diagnose(exc, settings.redis_url)) from exc
    try:
        await _begin_accounts(settings, replica)
    except CannotStart:
        await _cancel(projector)
        raise
    parts = [
        _part("server", server.serve()),
        projector,
        *(_part(name, work) for name, work in (replica.loops() | besides).items()),
        _part("roster", replica.api.roster.run()),
        _part("streams", replica.streams.run()),
    ]
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*parts, stopping], return_when=asyncio.FIRST_COMPLETED)
    if stopping not in done:
        failed = next(iter(done))
        logger.error("%s ended, the replica stops", failed.get_name(), extra={"action": "part_ended"})
    await _stop(replica, server, parts)
    stopping.cancel()
    for task in done - {stopping}:
        task.result()


async def _begin_accounts(settings: Settings, replica: Replica) -> None:
    """Make the account root at the first start with accounts. Raises CannotStart."""
    access = replica.api.access
    if access is None:
        return
    try:
        if not await access.accounts.has_root():
            _check_root_password(settings)
        await access.accounts.begin(root_password(settings), not settings.rbac_private_key_file)
    except Damaged:
        return  # nobody gets in until it is repaired
    except StoreUnavailable as exc:
        raise CannotStart(diagnose(exc, settings.redis_url)) from exc


def _check_root_password(settings: Settings) -> None:
    """Raise CannotStart if the account root cannot be made with what is set."""
    password = root_password(settings)
    if not password:
        raise CannotStart(
            "there are no accounts yet: set SC_INIT_ROOT_PASSWORD, or SC_INIT_ROOT_PASSWORD_FILE, to the password that "
            "the account root is to have"
        )
    wrong = complaint(password, ROOT)
    if wrong:
        raise CannotStart(f"{variable('init_root_password')}: {wrong}")


def _part(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


async def _stop(replica: Replica, server: Server, parts: list[asyncio.Task[None]]) -> None:
    """First not ready, then out of the registry, then the requests under way, then the loops."""
    replica.stopping = True
    serving, *loops = parts
    if all(not task.done() for task in loops):
        await replica.registration.leave()
        await replica.snapshotting.leave()
    if replica.api.feeds is not None:
        replica.api.feeds.close()
    server.should_exit = True
    with contextlib.suppress(Exception):
        await asyncio.shield(serving)
    await asyncio.gather(*(_cancel(task) for task in loops))


async def _cancel(task: asyncio.Task[Any]) -> None:
    """Cancel until it has ended: before Python 3.12 `asyncio.wait_for`, in redis-py, may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_S)
    if not task.cancelled():
        task.exception()  # looked at: the part that failed first has been reported
