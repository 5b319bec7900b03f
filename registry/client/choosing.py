"""Choosing: which instance of a provider to call next, as functions of values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from registry.client.addresses import NOWHERE, Zone, zone_of
from registry.domain.model import Instance

#: Seconds for which an instance that failed is left out, if there is another.
SKIPPED_S: Final = 10.0


def candidates(
    instances: Sequence[Instance],
    zone: Zone = NOWHERE,
    failed: Collection[str] = (),
    accepts: Callable[[Instance], bool] = lambda _: True,
) -> list[Instance]:
    """Those to choose from: up, accepted, not failed lately, and of these the nearest.

    An instance that failed lately is better than none, and a far one is better than one that failed lately.
    """
    able = [instance for instance in instances if instance.status == "UP" and accepts(instance)]
    well = [instance for instance in able if instance.instance_id not in failed] or able
    distances = [zone.distance(zone_of(instance.data_center_info)) for instance in well]
    return [instance for instance, distance in zip(well, distances, strict=True) if distance == min(distances)]


def in_turn(choices: Sequence[Instance], turn: int) -> Instance:
    """Round robin: `turn` counts the choices that were made before."""
    return choices[turn % len(choices)]


def less_busy(choices: Sequence[Instance], busy: Mapping[str, int], draws: tuple[float, float]) -> Instance:
    """Two at random, and of the two the one with fewer calls under way.

    Args:
        busy: calls under way by instance id; none is 0.
        draws: two random numbers in [0, 1).
    """
    first = int(draws[0] * len(choices))
    # The second is another one, where there is one.
    second = (first + 1 + int(draws[1] * (len(choices) - 1))) % len(choices)
    return min(choices[first], choices[second], key=lambda instance: busy.get(instance.instance_id, 0))
