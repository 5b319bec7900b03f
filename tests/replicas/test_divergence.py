"""Divergence: a replica whose view differs from the others' is found, told of, and put right.

The fold is a function of the log, so nothing short of a bug or a flipped bit makes views differ. One replica is started
with such a bug: when it folds a certain instance for the first time, it notes another host name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.api import Api, ids, ok
from tests.support.redis_server import redis_server
from tests.support.replica import Replica
from tests.support.waiting import until_sync

#: From the change to the rebuild.
HEALED_WITHIN_S = 20.0
PROGRAM = """
import sys
from msgspec.structs import replace
from registry import cli
from registry.domain import fold_instances

right = fold_instances._instance_row
done = []

def wrong(content, key, registered):
    if content.instance_id == "i7" and not done:
        done.append(True)
        content = replace(content, host_name="flipped")
    return right(content, key, registered)

fold_instances._instance_row = wrong
sys.exit(cli.main())
"""


class Pair:
    """A replica that is right and one that is not, on one Redis."""

    def __init__(self, right: Replica, wrong: Replica) -> None:
        self.right = right
        self.wrong = wrong
        self.before: list[bytes] = []

    def bodies(self) -> list[bytes]:
        return [ok(one.api("team").find("cart")).body for one in (self.right, self.wrong)]


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Everything below is about what happened here."""
    with redis_server() as server:
        pair = Pair(Replica("--redis-url", server.url), Replica("--redis-url", server.url, program=("-c", PROGRAM)))
        try:
            for one in (pair.right, pair.wrong):
                one.launch()
            for one in (pair.right, pair.wrong):
                one.wait_ready()
            fill(pair.right.api("team"))
            until_sync(lambda: len(ids(pair.wrong.api("team").find("cart"))) == 20, "the other one to follow")
            pair.before = pair.bodies()
            until_sync(lambda: len(set(pair.bodies())) == 1, "the replicas to agree", HEALED_WITHIN_S)
            until_sync(lambda: figure(pair.wrong, "healed_total") == 1, "it to be counted", HEALED_WITHIN_S)
            yield pair
        finally:
            pair.right.clean_up()
            pair.wrong.clean_up()


def fill(api: Api) -> None:
    """The one that is folded wrongly comes last: a comparison in the middle of it would heal it before it is seen."""
    api.service("cart", serviceId="cart")
    for number in [*(n for n in range(20) if n != 7), 7]:
        api.instance("cart", instanceId=f"i{number}")


def figure(one: Replica, name: str) -> float:
    """A figure of `/metrics`."""
    text = ok(one.connect().request("GET", "/metrics")).body.decode()
    (value,) = re.findall(rf"^registry_{name} (\S+)$", text, re.MULTILINE)
    return float(value)


def test_difference_of_a_single_field_is_healed(pair: Pair) -> None:
    """Consumers of either replica are told the same again, and it is what was written."""
    right, wrong = pair.before
    assert b'"flipped"' not in right
    assert b'"flipped"' in wrong
    assert pair.bodies() == [right, right]
    revs = {one.api("team").find("cart").rev for one in (pair.right, pair.wrong)}
    assert len(revs) == 1


def test_difference_is_told_and_counted(pair: Pair) -> None:
    """One line of the operator's log names the tenant and the service."""
    pair.wrong.tells("replicas_differ")
    (differ,) = pair.wrong.said("replicas_differ")
    assert differ["level"] == "error"
    assert "1 parts of team/default, e.g. cart" in differ["message"]
    assert figure(pair.wrong, "differences_total") == 1
    assert figure(pair.wrong, "rebuilds_total") == 1


def test_replicas_go_on_together_afterwards(pair: Pair) -> None:
    """Nothing was written to the log for it, and the next change arrives on both as ever."""
    api = pair.right.api("team")
    changed = ok(api.register(api.service("till", serviceId="till"), instanceId="next"))
    position = {"X-Registry-Position": changed.position}
    answers = [one.api("team").get("/microservices/till/instances", position) for one in (pair.right, pair.wrong)]
    assert [ids(answer) for answer in answers] == [["next"], ["next"]]
    assert answers[0].body == answers[1].body
    for one in (pair.right, pair.wrong):
        assert one.said("history_seeded") == []
        assert one.said("history_mended") == []
