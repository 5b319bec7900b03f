"""Hasher: makes hashes of passwords (argon2id), and checks them."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from registry.access.passwords import generate
from registry.domain.accounts import Secret


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
