"""`GET schemas/{serviceId}/{schemaId}`: what a schema's text says, as JSON."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from msgspec import Struct

from registry.http_api import reply
from registry.http_api.api import Api
from registry.http_api.call import Call
from registry.http_api.metadata import schema_id_of
from registry.http_api.reply import Reply

#: Bytes of a text that is read. Another thread reads it, at about 5 MB/s, and takes turns with all that is served.
READ_MAX_BYTES: Final = 512 * 1024


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
                found.document = await asyncio.to_thread(_read, schema.schema)
            except ValueError as exc:
                found.problem = str(exc)
    whole = reply.json(msgspec.json.encode(found), api.position(call.tenant))
    return await api.compressor.compress_beside(whole) if call.accepts_gzip else whole


def _read(text: str) -> Any:
    # Loaded by the first question, in a thread: neither a start nor anyone who is served waits for the library.
    from registry.http_api.schema_text import read

    return read(text)
