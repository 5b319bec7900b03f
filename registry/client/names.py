"""ServiceName: how people write which microservice they mean, `shop/cart:1.0.0`."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

APP_DEFAULT: Final = "default"
#: Every version. The API has no word for it that all registries take; this one they do (api-rules.md 4).
ANY_VERSION: Final = "0+"
#: Of a version that names none itself (api-rules.md 3.2).
VERSION_DEFAULT: Final = "0.0.1"

_VERSION: Final = r"\d+(?:\.\d+){0,3}"
_RULE: Final = re.compile(rf"latest|{_VERSION}\+?|{_VERSION}-{_VERSION}", re.ASCII)
_EXACT: Final = re.compile(_VERSION, re.ASCII)
_APP: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,158}[a-zA-Z0-9])?", re.ASCII)
#: A name that is looked for may be an alias, and aliases may hold colons.
_NAME: Final = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_.:-]{0,287}[a-zA-Z0-9])?", re.ASCII)
ENVIRONMENTS: Final = ("", "development", "testing", "acceptance", "production")


class ServiceName(Struct, frozen=True, order=True):
    """What a consumer finds by. `version` is a rule: `1.0.0`, `1.0.0+`, `1.0.0-2.0.0`, `latest`; `0+` is all."""

    app: str
    name: str
    version: str = ANY_VERSION
    environment: str = ""

    def text(self) -> str:
        """Write it as people do; what is usual is left out."""
        app = "" if self.app == APP_DEFAULT else f"{self.app}/"
        version = "" if self.version == ANY_VERSION else f":{self.version}"
        return f"{app}{self.name}{version}"

    @property
    def is_exact(self) -> bool:
        """Whether it means one version."""
        return _EXACT.fullmatch(self.version) is not None


def parse_name(text: str, environment: str = "") -> ServiceName:
    """Read `[APP/]NAME[:VERSION]`. Without an application it is `default`, without a version every one is meant.

    Raises:
        ValueError: it is no such text; the message is one sentence.
    """
    app, slash, rest = text.rpartition("/")
    name, colon, version = rest.rpartition(":")
    if not colon or not _RULE.fullmatch(version):
        name, version = rest, ANY_VERSION
    app = app if slash else APP_DEFAULT
    if not _APP.fullmatch(app) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{text[:300]!r} is no name of a microservice; write [APP/]NAME[:VERSION], as in shop/cart:1.0.0"
        )
    if environment not in ENVIRONMENTS:
        raise ValueError(f"there is no environment {environment[:64]!r}, only {', '.join(ENVIRONMENTS[1:])}")
    return ServiceName(app, name, version, environment)
