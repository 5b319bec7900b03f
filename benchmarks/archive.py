"""How many bytes does an event take in the archive, and how fast is it written and read?

`python -m benchmarks.archive --events 200000 --instances 100000`: 60 % changes of a status, 40 % instances that come
and leave, by three replicas, without request ids. The ids are random, as those are that the registry makes.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from typing import Final

from registry.archive import segment
from registry.domain.events import (
    Event,
    InstanceRegistered,
    InstanceStatusSet,
    InstanceUnregistered,
    encode_event,
)
from registry.domain.model import Instance
from registry.domain.position import Position
from registry.domain.tenant import DEFAULT_TENANT
from registry.upkeep.archiving import SEGMENT_EVENTS_MAX

SERVICES: Final = 100
REPLICAS: Final = ("6f1d0c9a7b34", "a3310be25d90", "c09e44f7182b")
STATUS_SHARE: Final = 0.6
#: Milliseconds between two events: 5 million in 30 days.
APART_MS: Final = 518
BEGIN_MS: Final = 1_796_000_000_000


def events(number: int, instances: int, chance: random.Random) -> Iterator[Event]:
    """The log of a busy month."""
    present = [_instance(chance) for _ in range(instances)]
    numbers = dict.fromkeys(REPLICAS, 0)
    for count in range(number):
        replica = chance.choice(REPLICAS)
        numbers[replica] += 1
        stamp = (BEGIN_MS + count * APART_MS + chance.randrange(APART_MS), replica, numbers[replica])
        told = dict(zip(("at_ms", "replica", "number"), stamp, strict=True)) | {
            "actor": f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(256)}",
            "user_agent": "Java-chassis/2.8",
        }
        index = chance.randrange(len(present))
        gone = present[index]
        if chance.random() < STATUS_SHARE:
            status = chance.choice(("UP", "DOWN", "OUTOFSERVICE"))
            yield InstanceStatusSet(service_id=gone.service_id, instance_id=gone.instance_id, status=status, **told)  # type: ignore[arg-type]
        elif count % 2:
            present[index] = _instance(chance)
            yield InstanceRegistered(instance=present[index], **told)  # type: ignore[arg-type]
        else:
            yield InstanceUnregistered(service_id=gone.service_id, instance_id=gone.instance_id, **told)  # type: ignore[arg-type]


def _instance(chance: random.Random) -> Instance:
    service = chance.randrange(SERVICES)
    host = f"10.{chance.randrange(4)}.{chance.randrange(256)}.{chance.randrange(256)}"
    return Instance(
        instance_id=chance.randbytes(16).hex(),
        service_id=f"{service:032x}",
        version="1.0.0",
        host_name=f"host-{host.replace('.', '-')}",
        endpoints=[f"rest://{host}:8080"],
        status="UP",
        properties={"zone": f"z{chance.randrange(3)}", "engineVersion": "2.8.1"},
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--instances", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    log = [
        (Position(BEGIN_MS, number), encode_event(event))
        for number, event in enumerate(events(asked.events, asked.instances, random.Random(asked.seed)), 1)
    ]
    raw = sum(len(payload) for _, payload in log)
    began, files = time.perf_counter(), []
    for start in range(0, len(log), SEGMENT_EVENTS_MAX):
        some = log[start : start + SEGMENT_EVENTS_MAX]
        files.append(segment.encode_events(DEFAULT_TENANT, Position(BEGIN_MS, start), some))
    wrote_s = time.perf_counter() - began
    size = sum(map(len, files))
    began, number = time.perf_counter(), 0
    for data in files:
        prefix = data[: segment.PREFIX_BYTES]
        length = segment.head_bytes(prefix)
        head = segment.decode_head(prefix, data[segment.PREFIX_BYTES : segment.PREFIX_BYTES + length])
        for index, block in enumerate(head.blocks):
            offset = segment.offset_of(head, length, index)
            number += len(segment.decode_block(block, data[offset : offset + block.size]))
    read_s = time.perf_counter() - began
    assert number == len(log)
    print(f"{number} events of {raw / number:.0f} bytes, {size / number:.1f} bytes each in {len(files)} segments")
    print(f"written {number / wrote_s:.0f} events/s, read {number / read_s:.0f} events/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
