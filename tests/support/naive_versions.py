"""Version rules as comparisons of text, written from api-rules.md section 4 alone: slow, plain, separate."""

from __future__ import annotations

from collections.abc import Sequence


def parts(version: str) -> list[int]:
    """`1.2` is 1, 2, 0, 0."""
    numbers = [int(part) for part in version.split(".")]
    while len(numbers) < 4:
        numbers.append(0)
    return numbers


def is_version(text: str) -> bool:
    """One to four decimal numbers of at most 32767, joined by dots."""
    found = text.split(".")
    plain = all(part and all(character in "0123456789" for character in part) for part in found)
    return len(found) <= 4 and plain and all(int(part) <= 32767 for part in found)


def is_below(left: str, right: str) -> bool:
    """Whether the number of `left` is smaller; 1.0 is not below 1.0.0, nor the other way round."""
    for a, b in zip(parts(left), parts(right), strict=True):
        if a != b:
            return a < b
    return False


def newest_first(versions: Sequence[str]) -> list[str]:
    """Descending; versions of equal number in descending order of their text."""
    left = list(versions)
    ordered = []
    while left:
        newest = left[0]
        for version in left:
            if is_below(newest, version) or (not is_below(version, newest) and version > newest):
                newest = version
        left.remove(newest)
        ordered.append(newest)
    return ordered


def matching(rule: str, versions: Sequence[str]) -> list[str]:
    """The registered versions that a rule means, newest first; blank means all (D3)."""
    ordered = newest_first(versions)
    if rule == "":
        return ordered
    if rule == "latest":
        return ordered[:1]
    if rule.endswith("+"):
        return [version for version in ordered if not is_below(version, rule[:-1])]
    if "-" in rule:
        low, high = rule.split("-")
        if is_below(high, low):
            low, high = high, low
        return [version for version in ordered if not is_below(version, low) and is_below(version, high)]
    return [version for version in ordered if version == rule]
