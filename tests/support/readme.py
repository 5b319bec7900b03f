"""The blocks of README.md, as they are pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parents[2]
README: Final = (REPOSITORY / "README.md").read_text()
_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, "" where none is named, and its text."""

    language: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in _FENCED.findall(README)]


def block(begins: str) -> str:
    """The text of the one block that begins so."""
    (text,) = (block.text for block in blocks() if block.text.startswith(begins))
    return text


def acl_block() -> str:
    """What makes the user of the registry on a Redis."""
    return block("redis-cli ACL SETUSER")


def acl_rights(text: str) -> set[str]:
    """The commands that such a user may use."""
    return {word[1:] for word in shlex.split(text) if word.startswith("+")}


def acl_further_rights() -> list[str]:
    """What the paragraph below the block names for what not every deployment needs, in its order."""
    paragraph = README.split(acl_block(), 1)[1].split("\n\n")[1]
    return re.findall(r"\+[\w|]+", paragraph)
