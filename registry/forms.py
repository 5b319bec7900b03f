"""Forms: what the text of a setting may look like. Each takes the text and returns the complaint, "" for none.

A complaint goes on from the name of the setting: "is 'loud', it must be debug, info, warning or error".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final

from registry.store.address import BadAddress, parse_address

Form = Callable[[str], str]

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def text(given: str) -> str:
    """Any text."""
    return ""


def one_of(*names: str) -> Form:
    """One of several words."""
    return lambda given: "" if given in names else f"is {given!r}, it must be {', '.join(names[:-1])} or {names[-1]}"


def host(given: str) -> str:
    """A host name, or an IP address without brackets and port."""
    return "" if _is_host(given) else f"is {given!r}, it must be a host name or an address, without brackets and port"


def place(given: str) -> str:
    """HOST:PORT, where an IPv6 address stands in brackets."""
    name, _, port = given.rpartition(":")
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
        fits = ":" in name and _is_host(name)
    else:
        fits = ":" not in name and _is_host(name)
    if fits and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 65536:
        return ""
    return f"is {given!r}, it must be HOST:PORT, with an IPv6 address in brackets: [2001:db8::1]:30100"


def port(given: str) -> str:
    """A port, 0 for any that is free."""
    fits = re.fullmatch("[0-9]{1,5}", given) and int(given) < 65536
    return "" if fits else f"is {given!r}, it must be a port from 0 to 65535"


def networks(given: str) -> str:
    """CIDR blocks or single addresses, separated by commas or blanks."""
    for one in given.replace(",", " ").split():
        try:
            ipaddress.ip_network(one)
        except ValueError as exc:
            return f"has {one!r}, it must be addresses or CIDR blocks such as 10.0.0.0/8: {exc}"
    return ""


def some_of(*names: str) -> Callable[[str], str]:
    """Some of these names, separated by commas or blanks."""

    def form(given: str) -> str:
        for one in given.replace(",", " ").split():
            if one not in names:
                return f"has {one!r}, it must be some of {', '.join(names)}"
        return ""

    return form


def origins(given: str) -> str:
    """Origins as browsers name them, separated by commas or blanks; or `*`, or `none`."""
    if given in ("*", "none"):
        return ""
    for one in given.replace(",", " ").split():
        if not re.fullmatch(r"https?://[A-Za-z0-9._\-\[\]:]+", one):
            return f"has {one!r}, it must be origins such as https://console.example:8443, or * or none"
    return ""


def redis_url(given: str) -> str:
    """Where Redis is. The complaint does not repeat it: there may be a password in it."""
    try:
        parse_address(given)
    except BadAddress as exc:
        return str(exc)
    return ""


def _is_host(given: str) -> bool:
    try:
        return bool(ipaddress.ip_address(given))
    except ValueError:
        return bool(_NAME.fullmatch(given))
