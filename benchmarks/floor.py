"""The floor: what is left of a request when nothing at all is done with it?

A uvloop protocol that writes the same response for every segment it is given, without looking at it: no parser, no
headers, no state. Whatever answers over uvloop pays at least this, nearly all of it to the kernel.

    python -m benchmarks.floor      measures it and the bare app in turn: requests per second, CPU µs, ratio
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import uvloop

CONNECTIONS = 32
SECONDS = 3
ROUNDS = 3
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Floor(asyncio.Protocol):
    """Answers each segment with the same bytes."""

    def __init__(self, size: int) -> None:
        self._response = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (size, b"x" * size)

    def connection_made(self, transport: Any) -> None:
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        self._write(self._response)


async def _serve(port: int, size: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Floor(size), "127.0.0.1", port)
    await server.serve_forever()


@contextlib.contextmanager
def running(module: str, port: int, size: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", module, "--port", str(port), "--size", str(size)])
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
                break
        yield process
    finally:
        process.terminate()
        process.wait()


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        members = stat.read().rsplit(")", 1)[1].split()
    return (int(members[11]) + int(members[12])) / TICKS_PER_S


def _load(process: subprocess.Popen[bytes], port: int) -> tuple[float, float]:
    """Requests per second, and CPU µs of each."""
    before = _cpu_s(process.pid)
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://127.0.0.1:{port}/"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used_s = _cpu_s(process.pid) - before
    requests, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
    if requests is None or rate is None:
        raise RuntimeError(f"wrk says: {said}")
    return float(rate[1]), used_s / int(requests[1]) * 1e6


def measure(size: int) -> None:
    """Print a line per round, and the medians."""
    ratios = []
    with running("benchmarks.floor", 19101, size) as floor, running("benchmarks.bare", 19102, size) as bare:
        for _ in range(ROUNDS):
            (rate, cpu_us), (bare_rate, bare_us) = _load(floor, 19101), _load(bare, 19102)
            ratios.append(rate / bare_rate)
            print(f"floor {rate:,.0f}/s, {cpu_us:.1f} µs; bare {bare_rate:,.0f}/s, {bare_us:.1f} µs; {ratios[-1]:.2f}")
    print(f"the floor is {statistics.median(ratios):.2f} times the bare app")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--port", type=int, help="serve there instead of measuring")
    parser.add_argument("--size", type=int, default=464, help="bytes in the body (default 464, those of find-1)")
    options = parser.parse_args()
    if options.port is None:
        measure(options.size)
    else:
        uvloop.run(_serve(options.port, options.size))


if __name__ == "__main__":
    main()
