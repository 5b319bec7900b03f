"""README.md and the pages of registry/docs: their blocks, as they are pasted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DOCS: Final = REPOSITORY / "registry" / "docs"
_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, "" where none is named, and its text."""

    language: str
    text: str


def page(name: str) -> str:
    """The text of a page, such as `api.md`; `README.md` is the one at the top."""
    return (REPOSITORY / name if name == "README.md" else DOCS / name).read_text()


def blocks(name: str) -> list[Block]:
    return [Block(*found) for found in _FENCED.findall(page(name))]


def block(name: str, begins: str) -> str:
    """The text of the one block of a page that begins so."""
    (text,) = (block.text for block in blocks(name) if block.text.startswith(begins))
    return text


def settings_of(name: str) -> dict[str, str]:
    """The variables of the blocks of a page that hold nothing else than these, by their names."""
    found: dict[str, str] = {}
    for block in blocks(name):
        if block.language == "sh" and is_settings(block.text):
            found |= dict(word.split("=", 1) for word in shlex.split(block.text, comments=True))
    return found


def is_settings(text: str) -> bool:
    return all(re.fullmatch(r"[A-Z_]+=.*", word) for word in shlex.split(text, comments=True))


def rows(name: str, heading: str = "") -> list[list[str]]:
    """The cells of all rows of the tables of a page, or of one of its sections, without the heads."""
    text = page(name)
    section = text.split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0] if heading else text
    tables = re.findall(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", section, re.MULTILINE)
    lines = [line for table in tables for line in table.splitlines()]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# -- the user of the registry on a Redis -------------------------------------------------------------------------------


def acl_block() -> str:
    """What makes that user."""
    return block("production.md", "redis-cli ACL SETUSER")


def acl_rights(text: str) -> set[str]:
    """The commands that such a user may use."""
    return {word[1:] for word in shlex.split(text) if word.startswith("+")}


def acl_further_rights() -> list[str]:
    """What the paragraph below the block names for what not every deployment needs, in its order."""
    paragraph = page("production.md").split(acl_block(), 1)[1].split("\n\n")[1]
    return re.findall(r"\+[\w|]+", paragraph)
