"""Passwords: what a good one is (api-rules.md 3.16)."""

from __future__ import annotations

import secrets
import string
import unicodedata
from typing import Final

LEAST_BYTES: Final = 8
MOST_BYTES: Final = 32
#: Of a generated one.
GENERATED: Final = 24
_MARKS: Final = "-_.+=@%"


def complaint(password: str, name: str) -> str:
    """What is wrong with a new password; "" when it is good. The password is not said."""
    if not LEAST_BYTES <= len(password.encode("utf-8", "surrogatepass")) <= MOST_BYTES:
        return f"password: {LEAST_BYTES} to {MOST_BYTES} bytes"
    kinds = {
        "an upper-case letter": str.isupper,
        "a lower-case letter": str.islower,
        "a digit": str.isdigit,
        "a punctuation mark or symbol": _is_mark,
    }
    missing = [kind for kind, is_one in kinds.items() if not any(map(is_one, password))]
    if missing:
        return f"password: it needs {', '.join(missing)}"
    if password in (name, name[::-1]):
        return "password: neither the account's name nor its reverse"
    return ""


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def generate() -> str:
    """A good password that nobody has chosen."""
    while True:
        password = "".join(secrets.choice(string.ascii_letters + string.digits + _MARKS) for _ in range(GENERATED))
        if not complaint(password, ""):
            return password
