"""Schema documents: what a schema's text says, as JSON. The text is a client's, so all of its reading is bounded."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
import yaml
from msgspec import Struct

from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.metadata import schema_id_of
from registry.http_api.reply import Reply

#: Bytes of a text that is read. Another thread reads it, at about 5 MB/s, and takes turns with all that is served.
READ_MAX_BYTES: Final = 512 * 1024
#: Values in a document, each as often as it is meant (YAML can name one a million times), and how deep they may stand.
VALUES_MAX: Final = 50_000
DEPTH_MAX: Final = 64

_LOADER: Final = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class SchemaDocument(Struct, omit_defaults=True, rename="camel"):
    """`schema` is the text as it was registered, `document` what it says; or else `problem` says why it is not read."""

    schema_id: str
    summary: str
    schema: str
    document: Any = None
    problem: str = ""


async def get_document(api: Api, call: Call) -> Reply:
    """`GET schemas/{serviceId}/{schemaId}`: a schema's text, and what it says as JSON where it is YAML or JSON."""
    schema = await api.discovery.schema(call.tenant, call.service_id, schema_id_of(call))
    found = SchemaDocument(schema.schema_id, schema.summary, schema.schema)
    if len(schema.schema.encode()) > READ_MAX_BYTES:
        found.problem = f"it has more than {READ_MAX_BYTES} bytes"
    else:
        async with api.reading:
            try:
                found.document = await asyncio.to_thread(read, schema.schema)
            except ValueError as exc:
                found.problem = str(exc)
    whole = reply.json(msgspec.json.encode(found), api.position(call.tenant))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


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
