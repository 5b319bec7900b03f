"""PasswordFile: the password of Redis, read from its file for each connection, so that a new one needs no restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError


class PasswordFile(CredentialProvider):
    """
    Args:
        path: of the file. The end of its last line does not belong to the password.
        user: whose password it is; "" for Redis's default user.
    """

    def __init__(self, path: str, user: str = "") -> None:
        self._path = Path(path)
        self._user = user

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Raises redis-py's ConnectionError when the file cannot be read."""
        password, wrong = "", ""
        try:
            password = self._path.read_text().rstrip("\r\n")
        except OSError as exc:
            wrong = exc.strerror or "it cannot be opened"
        except UnicodeDecodeError:
            wrong = "it is no text"
        if wrong:  # out of the handlers, for it is no failure of the network
            raise RedisConnectionError(f"the password cannot be read from {self._path}: {wrong}")
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        return await asyncio.to_thread(self.get_credentials)
