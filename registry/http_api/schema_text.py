"""Schema texts: what one says, as JSON. The text is a client's, so all of its reading is bounded."""

from __future__ import annotations

from typing import Any, Final

import yaml

#: Values in a document, each as often as it is meant (YAML can name one a million times), and how deep they may stand.
VALUES_MAX: Final = 50_000
DEPTH_MAX: Final = 64

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def read(text: str) -> Any:
    """What the text says, if it is YAML (or JSON, which is YAML): objects, lists and strings.

    Raises:
        ValueError: it is no YAML, or too much of it; the message says what.
    """
    try:
        return _Values().of(yaml.compose(text, Loader=_LOADER), 0)
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        raise ValueError("it is no YAML" + (f" (line {mark.line + 1})" if mark else "")) from exc


class _Values:
    """Values of one document."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def of(self, node: yaml.Node | None, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > DEPTH_MAX:
            raise ValueError(f"it has more than {VALUES_MAX} values, or stands more than {DEPTH_MAX} deep")
        match node:
            case yaml.MappingNode():
                return {_key(key): self.of(value, depth + 1) for key, value in node.value}
            case yaml.SequenceNode():
                return [self.of(value, depth + 1) for value in node.value]
            case yaml.ScalarNode():
                return node.value
        return None


def _key(node: yaml.Node) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "?"
