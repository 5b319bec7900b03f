"""rules: what the texts and numbers of a request have to be, as the decoder checks it and in a sentence for people."""

from __future__ import annotations

import re
from typing import Final

from msgspec import Meta

from registry.domain.errors import InvalidParams
from registry.domain.version import VERSION_MAX, VERSION_PATTERN, VERSION_WORDS

INT32_MAX: Final = 2**31 - 1


class Rule:
    """One rule. `words` says what the value is, so that it fits behind the name of a member."""

    def __init__(self, words: str, pattern: str = "", most: int | None = None, least: int | None = None) -> None:
        self.words = words
        #: For the decoder, and for the OpenAPI document.
        self.meta = Meta(pattern=pattern or None, max_length=most, min_length=least, description=words)
        self._search = re.compile(pattern).search
        self._most = most

    def check(self, text: str, name: str, where: str) -> str:
        """The text, which has to be there.

        Raises:
            InvalidParams: it is missing, or against the rule. `where` it stands is said too.
        """
        if not text:
            raise InvalidParams(f"{name} is missing - at {where}")
        return self.check_optional(text, name, where)

    def check_optional(self, text: str, name: str, where: str) -> str:
        """The text, which may be blank."""
        if (self._most is not None and len(text) > self._most) or not self._search(text):
            raise InvalidParams(f"{name}: {self.words} - at {where}")
        return text


def text_of(most: int) -> Meta:
    """Any text of limited length."""
    return Meta(max_length=most, description=f"up to {most} characters")


def number(least: int, most: int) -> Meta:
    """A whole number within these limits."""
    return Meta(ge=least, le=most, description=f"a whole number from {least} to {most}")


def elements(least: int | None = None, most: int | None = None) -> Meta:
    """A list of limited length."""
    limits = [f"at least {least}"] if least else []
    limits += [f"at most {most}"] if most else []
    return Meta(min_length=least, max_length=most, description=f"a list of {' and '.join(limits)} element(s)")


def _name(characters: str, most: int) -> Rule:
    """Letters, digits and further characters, with letters or digits at both ends."""
    words = f"up to {most} {_characters(characters)}, with a letter or digit at both ends"
    escaped = re.escape(characters)
    return Rule(words, rf"^(?:[a-zA-Z0-9]*|[a-zA-Z0-9][a-zA-Z0-9{escaped}]*[a-zA-Z0-9])\Z", most)


def _characters(further: str) -> str:
    return f"letters, digits, {', '.join(f'`{character}`' for character in further[:-1])} and `{further[-1]}`"


def _one_of(*names: str) -> Rule:
    return Rule(f"{', '.join(names[:-1])} or {names[-1]}, or blank", rf"^(?:{'|'.join(names)})?\Z")


#: No-break space and vertical tab are no white space here, nor are they to Go's `\S`.
_NO_SPACE: Final = r"^[^\t\n\f\r ]*\Z"
_SOME_TEXT: Final = r"[^\t\n\f\r ]"

APP_ID: Final = _name("_-.", 160)
SERVICE_NAME: Final = _name("_-.", 128)
#: An application, a colon, a service name.
FIND_NAME: Final = _name("_-.:", 160 + 1 + 128)
ANY_OR_FIND_NAME: Final = Rule(
    f"`*`, or {FIND_NAME.words}", rf"^\*\Z|{FIND_NAME.meta.pattern}", FIND_NAME.meta.max_length
)
FRAMEWORK_NAME: Final = _name("_-.", 64)
SCHEMA_ID: Final = Rule(_name("_-.", 160).words, r"^(?:[a-zA-Z0-9]+|[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9])\Z", 160, 1)
VERSION: Final = Rule(VERSION_WORDS, rf"^(?:{VERSION_PATTERN})?\Z", VERSION_MAX)
ENVIRONMENT: Final = _one_of("development", "testing", "acceptance", "production")
SERVICE_ID: Final = Rule("up to 64 characters without white space", _NO_SPACE, 64)
SOME_SERVICE_ID: Final = Rule("1 to 64 characters without white space", _NO_SPACE, 64, 1)
INSTANCE_ID: Final = Rule(f"up to 64 {_characters('_-.')}", r"^[A-Za-z0-9_.\-]*\Z", 64)
TAG: Final = Rule(f"a letter, then up to 63 {_characters('_-.')}", r"^[a-zA-Z][a-zA-Z0-9_\-.]{0,63}\Z")
ALIAS: Final = Rule(f"up to 128 {_characters('_-.:')}", r"^[a-zA-Z0-9_\-.:]*\Z", 128)
PLACE: Final = Rule(f"1 to 128 {_characters('_-.')}", r"^[A-Za-z0-9_.\-]+\Z", 128, 1)
SUMMARY: Final = Rule("up to 128 letters and digits", r"^[a-zA-Z0-9]*\Z", 128)
PATH: Final = Rule(_characters(".,?'\\/+&;%$#=~_-@{}"), r"^[A-Za-z0-9.,?'\\/+&;%$#=~_\-@{}]*\Z")
URL: Final = Rule("a text without white space", _NO_SPACE)
HOST_NAME: Final = Rule("1 to 64 characters, not all of them blank", _SOME_TEXT, 64, 1)
ENDPOINT: Final = Rule("a text that is not blank", _SOME_TEXT)
SCHEMA: Final = Rule("a text that is not empty", least=1)
MODE: Final = Rule("push or pull", r"^(?:push|pull)\Z")
INSTANCE_STATUS: Final = _one_of("UP", "DOWN", "STARTING", "TESTING", "OUTOFSERVICE")
SERVICE_STATUS: Final = _one_of("UP", "DOWN")
LEVEL: Final = _one_of("FRONT", "MIDDLE", "BACK")
REGISTER_BY: Final = _one_of("SDK", "SIDECAR", "PLATFORM", "UNKNOWN")
