"""Versions of microservices, and the rules by which a consumer chooses among them (api-rules.md 4, D3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeVar
from urllib.parse import unquote

from msgspec import Struct

from registry.domain.errors import InvalidParams

#: A decimal number of at most 32767, leading zeros allowed.
PART: Final = r"0*(?:[0-9]{1,4}|[12][0-9]{4}|3[01][0-9]{3}|32[0-6][0-9]{2}|327[0-5][0-9]|3276[0-7])"
VERSION_PATTERN: Final = rf"{PART}(?:\.{PART}){{0,3}}"
VERSION_WORDS: Final = "one to four numbers, 0 to 32767, with dots between them"
VERSION_MAX: Final = 64
RULE_MAX: Final = 129
#: Texts of rules whose meaning is remembered.
RULES_REMEMBERED: Final = 256

_VERSION = re.compile(VERSION_PATTERN)
_RULE = re.compile(
    rf"(?P<latest>latest)|(?P<low>{VERSION_PATTERN})(?:(?P<plus>\+)|-(?P<high>{VERSION_PATTERN}))?", re.ASCII
)

Version = tuple[int, int, int, int]
T = TypeVar("T")


def parse_version(text: str) -> Version:
    """Read `1`, `1.2`, `1.2.3` or `1.2.3.4`; missing parts count as 0, so 1.10 > 1.9 and 1 == 1.0 in order."""
    if not _VERSION.fullmatch(text):
        raise InvalidParams(f"version {text[:VERSION_MAX]!r}: {VERSION_WORDS}")
    parts = [int(part) for part in text.split(".")]
    a, b, c, d = parts + [0] * (4 - len(parts))
    return (a, b, c, d)


class VersionRule(Struct, frozen=True, gc=False):
    """Which versions of a microservice are meant.

    kind: `all`, `latest` (the greatest registered), `exact` (equal as text: 1.0 is not 1.0.0), `from` (>= low) or
    `between` (low <= version < high; the ends are already in order). `text` is the same for rules that mean the same.
    """

    kind: str
    text: str = ""
    low: Version = (0, 0, 0, 0)
    high: Version = (0, 0, 0, 0)


ALL_VERSIONS: Final = VersionRule("all")


def parse_rule(text: str) -> VersionRule:
    """Read a version rule: blank, exact, `1.0+`, `1.0-2.0` or `latest`.

    Clients encode the plus in three ways: `%2B`, `%252B` (encoded twice) and bare, which a query string reads as a
    space. All three are understood.

    Raises:
        InvalidParams: the text is no rule.
    """
    if "%" in text:
        text = unquote(text)
    if text.endswith(" ") and _VERSION.fullmatch(text.strip()):
        text = text.strip() + "+"
    text = text.strip()
    if not text:
        return ALL_VERSIONS
    rule = _rule(text) if len(text) <= RULE_MAX else None
    if rule is None:
        raise InvalidParams(
            f"version {text[:RULE_MAX]!r}: {VERSION_WORDS}, or a rule: `1.0.0+`, `1.0.0-2.0.0`, `latest`"
        )
    return rule


@lru_cache(maxsize=RULES_REMEMBERED)
def _rule(text: str) -> VersionRule | None:
    match = _RULE.fullmatch(text)
    if match is None:
        return None
    if match["latest"]:
        return VersionRule("latest", text)
    low = parse_version(match["low"])
    if match["plus"]:
        return VersionRule("from", f"{_canonical(low)}+", low)
    if match["high"]:
        low, high = sorted((low, parse_version(match["high"])))
        return VersionRule("between", f"{_canonical(low)}-{_canonical(high)}", low, high)
    return VersionRule("exact", text, low)


def _canonical(version: Version) -> str:
    return ".".join(map(str, version))


def select(rule: VersionRule, candidates: Iterable[T], version_of: Callable[[T], tuple[str, Version]]) -> list[T]:
    """The candidates that the rule means, greatest version first.

    Numerically equal versions (1.0 and 1.0.0) keep a fixed order by their text, so that every replica answers alike.
    """
    rows = sorted(candidates, key=lambda row: (version_of(row)[1], version_of(row)[0]), reverse=True)
    match rule.kind:
        case "all":
            return rows
        case "latest":
            return rows[:1]
        case "exact":
            return [row for row in rows if version_of(row)[0] == rule.text]
        case "from":
            return [row for row in rows if version_of(row)[1] >= rule.low]
        case "between":
            return [row for row in rows if rule.low <= version_of(row)[1] < rule.high]
    raise AssertionError(f"unknown kind of rule: {rule.kind}")
