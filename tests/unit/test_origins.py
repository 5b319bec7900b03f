"""Origins: whose pages a browser lets use the API."""

from __future__ import annotations

import pytest

from registry.environment import read_settings
from registry.http_api.origins import HEADERS, HEADERS_WITH_TOKEN, METHODS, Origins
from registry.settings import BadSetting

CONSOLE = [(b"host", b"registry:30100"), (b"origin", b"https://console.example")]
OTHER = [(b"host", b"registry:30100"), (b"origin", b"https://other.example")]
OWN = [(b"host", b"registry:30100"), (b"origin", b"http://registry:30100")]
PROGRAM = [(b"host", b"registry:30100")]


@pytest.mark.parametrize(
    ("allowed", "console", "other"),
    [
        ("*", b"*", b"*"),
        ("none", None, None),
        ("https://console.example", b"https://console.example", None),
        ("http://a, https://console.example http://b", b"https://console.example", None),
        ("https://console.example:8443", None, None),
    ],
)
def test_only_the_named_origins_may_read_answers(allowed: str, console: bytes | None, other: bytes | None) -> None:
    origins = Origins(allowed)
    for headers, expected in ((CONSOLE, console), (OTHER, other), (PROGRAM, None)):
        said = [(b"Access-Control-Allow-Origin", expected)] if expected else []
        assert origins.lines(headers) == said
        told = bool(said) or allowed == "*"
        assert origins.preflight(headers) == ((METHODS, HEADERS) if told else ())


def test_tokens_may_be_sent_where_there_are_accounts() -> None:
    assert Origins("*", True).preflight(CONSOLE) == (METHODS, HEADERS_WITH_TOKEN)


@pytest.mark.parametrize(
    ("allowed", "who", "may"),
    [
        ("*", OTHER, True),
        ("none", OTHER, False),
        ("none", OWN, True),
        ("none", PROGRAM, True),
        ("https://console.example", CONSOLE, True),
        ("https://console.example", OTHER, False),
        ("none", [(b"origin", b"null")], False),
    ],
)
def test_pages_of_others_open_no_websocket(allowed: str, who: list[tuple[bytes, bytes]], may: bool) -> None:
    """Browsers ask nobody before they do: it is the server that has to look."""
    assert Origins(allowed).may_connect(who) is may


@pytest.mark.parametrize("given", ["console.example", "https://console.example/path", "ftp://a", "*, http://a"])
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(BadSetting, match="REGISTRY_CORS_ORIGINS has "):
        read_settings({"REGISTRY_CORS_ORIGINS": given})
