"""What a call to a registry can end with, other than an answer."""

from __future__ import annotations

from typing import Final

from registry.domain.errors import (
    InstanceNotExists,
    InvalidParams,
    SchemaNotExists,
    ServiceAlreadyExists,
    ServiceNotExists,
    ServiceVersionNotExists,
)

INVALID_PARAMS: Final = InvalidParams.code
SERVICE_NOT_EXISTS: Final = ServiceNotExists.code
SERVICE_VERSION_NOT_EXISTS: Final = ServiceVersionNotExists.code
SERVICE_ALREADY_EXISTS: Final = ServiceAlreadyExists.code
SCHEMA_NOT_EXISTS: Final = SchemaNotExists.code
INSTANCE_NOT_EXISTS: Final = InstanceNotExists.code
#: Name or password are wrong, and the account is blocked (api-rules.md 3.16).
WRONG_PASSWORD: Final = (401202, 403201)


class ClientError(Exception):
    """The root of all of them."""


class Unreachable(ClientError):
    """No address gave an answer of a registry. The message says what each of them did."""


class Refused(ClientError):
    """The registry understood, and refused.

    `code` is that of the API (400012 and so on); the first three digits of it are the HTTP status.
    """

    def __init__(self, code: int, message: str, detail: str = "") -> None:
        super().__init__(f"{message}: {detail}" if detail else message)
        self.code = code
        self.message = message
        self.detail = detail

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.code // 1000


class NotOffered(ClientError):
    """The registry has no such operation: it is another one, or not set up for it."""


class NoInstance(ClientError):
    """There is nothing to pick: the provider has no instance that is up, as far as is known."""


class Closed(ClientError):
    """The client was closed, or not opened yet."""
