"""Tenant: the owner of one separate registry."""

from __future__ import annotations

from typing import Final, NamedTuple


class Tenant(NamedTuple):
    """The owner of one separate registry: `X-Domain-Name` and the `{project}` of the path."""

    domain: str
    project: str

    def __str__(self) -> str:
        return f"{self.domain}/{self.project}"


DEFAULT_TENANT = Tenant("default", "default")
#: Whose log holds accounts and roles. No client can name it: a blank domain is the default one, and no path has a blank
#: project.
ACCOUNTS: Final = Tenant("", "accounts")
