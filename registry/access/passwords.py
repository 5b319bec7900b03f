"""Passwords: what a good one is (api-rules.md 3.16), and their hashes (argon2id)."""

from __future__ import annotations

import secrets
import string
import unicodedata
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from registry.domain.accounts import Secret

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


class Hasher:
    """Makes and checks hashes. Each takes some hundredths of a second of a core, and of memory: in a thread, please.

    Args:
        memory_kib, passes: of argon2id; as the library has them by default (RFC 9106, low memory).
    """

    def __init__(self, memory_kib: int = 65_536, passes: int = 3) -> None:
        self._argon2 = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        #: Of a password that nobody has: to check against it takes as long as against any other.
        self.nobodys = self.hash(generate())

    def hash(self, password: str) -> Secret:
        return Secret(self._argon2.hash(_bytes(password)))

    def is_right(self, password: str, hash: Secret) -> bool:
        try:
            return self._argon2.verify(hash.text, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
