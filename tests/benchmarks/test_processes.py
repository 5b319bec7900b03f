"""Processor time and memory: those of a process and its children are found, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks import cpu, memory, processes
from benchmarks.cpu import Usage


def test_tree_holds_a_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        try:
            found = processes.tree([os.getpid()])
            assert {os.getpid(), child.pid} <= found.keys()
            assert processes.tree([child.pid]).keys() == {child.pid}
        finally:
            child.kill()


def test_tree_of_nobody_is_empty() -> None:
    assert processes.tree([]) == {}
    assert memory.read([]).registry_bytes("rss") == 0


def test_name_of_a_process_may_hold_anything() -> None:
    stat = "7 (a ) (b) c) S 3 " + " ".join(["0"] * 9) + " 1 2 3 4 0"
    assert processes._parse(stat) == processes.Process(3, "a ) (b) c", 10)


def test_valkey_counts_as_redis() -> None:
    """Whose place it takes: what the store uses is told apart, whichever server it is."""
    stat = "7 (valkey-server) S 3 " + " ".join(["0"] * 9) + " 1 2 3 4 0"
    assert processes._parse(stat).name == "redis-server"


def test_own_memory_and_time_are_seen() -> None:
    held = memory.read([os.getpid()])
    assert 0 < held.registry_bytes("pss") <= held.registry_bytes("rss")
    assert cpu.read_usage([os.getpid()]).processes >= 1


def test_usage_per_request_names_redis_apart() -> None:
    """`registry` and `redis-server` together are what an operator pays for."""
    used = Usage({"python": 3_000_000, "redis-server": 1_000_000}, 2)
    numbers = used.numbers(requests=1000, seconds=8)
    assert numbers["CPU per request"].value == 4000
    assert numbers["of it redis"].value == 1000
    assert numbers["busy"].value == 0.5


def test_coarse_processor_time_is_marked() -> None:
    assert Usage({"python": 5 * cpu.TICK_US}, 1).numbers(10, 1)["CPU per request"].mark == "~"
    assert Usage({"python": 500 * cpu.TICK_US}, 1).numbers(10, 1)["CPU per request"].mark == ""
