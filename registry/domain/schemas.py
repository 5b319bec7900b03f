"""schemas: decisions about the schemas of a microservice, and how they are listed.

Pure, as `domain.decide`; refusals are made again after catching up.
"""

from __future__ import annotations

from collections.abc import Sequence

from registry.domain import weight
from registry.domain.decide import Known, Stamp, service_or_refuse, service_to_write
from registry.domain.errors import InvalidParams, SchemaNotExists
from registry.domain.events import SchemaDeleted, SchemaPut, SchemasReplaced
from registry.domain.model import Schema
from registry.domain.quotas import Quotas
from registry.domain.request_bodies import SchemaBody
from registry.domain.view import RegistryView, ServiceRow


def put_schema(
    view: RegistryView, service_id: str, schema_id: str, body: SchemaBody, quotas: Quotas, stamp: Stamp
) -> SchemaPut | Known:
    """Create or overwrite one schema, in any environment (D18); without a summary the old one goes."""
    if not body.schema:
        raise InvalidParams("schema is missing - at `$.schema`")
    row = service_to_write(view, service_id, stamp.actor)
    schema = Schema(schema_id, body.summary or "", body.schema)
    before = row.schemas.get(schema_id)
    if before == schema and schema_id in row.service.schemas:
        return Known(service_id)
    growth = weight.of_schema(schema) - (weight.of_schema(before) if before is not None else 0)
    quotas.check_schema(view, row, schema_id, growth)
    return SchemaPut(
        service_id=service_id, schema_id=schema_id, schema=schema.schema, summary=schema.summary, **stamp._asdict()
    )


def replace_schemas(
    view: RegistryView, service_id: str, bodies: Sequence[SchemaBody] | None, quotas: Quotas, stamp: Stamp
) -> SchemasReplaced:
    """Make the service's schemas exactly these, in this order."""
    if not bodies:
        raise InvalidParams("schemas must hold at least one element - at `$.schemas`")
    schemas = [_complete(body, index) for index, body in enumerate(bodies)]
    if len({schema.schema_id for schema in schemas}) < len(schemas):
        raise InvalidParams("a schemaId is given twice - at `$.schemas`")
    row = service_to_write(view, service_id, stamp.actor)
    quotas.check_schemas(view, row, len(schemas), sum(map(weight.of_schema, schemas)))
    return SchemasReplaced(service_id=service_id, schemas=schemas, **stamp._asdict())


def _complete(body: SchemaBody, index: int) -> Schema:
    if not (body.schema_id and body.schema and body.summary):
        raise InvalidParams(f"schemaId, schema and summary are needed - at `$.schemas[{index}]`")
    return Schema(body.schema_id, body.summary, body.schema)


def delete_schema(view: RegistryView, service_id: str, schema_id: str, stamp: Stamp) -> SchemaDeleted:
    service_to_write(view, service_id, stamp.actor)
    schema_or_refuse(view, service_id, schema_id)
    return SchemaDeleted(service_id=service_id, schema_id=schema_id, **stamp._asdict())


def schema_or_refuse(view: RegistryView, service_id: str, schema_id: str) -> Schema:
    """The schema's content; one that is only declared does not exist (api-rules.md 3.4)."""
    schema = service_or_refuse(view, service_id).schemas.get(schema_id)
    if schema is None:
        raise SchemaNotExists(f"schema {schema_id} of service {service_id}")
    return schema


def list_schemas(view: RegistryView, service_id: str, with_schema: bool) -> list[Schema]:
    """Declared ids in their order, then ids that have only content; content only when asked for."""
    return listed(service_or_refuse(view, service_id), with_schema)


def listed(row: ServiceRow, with_schema: bool) -> list[Schema]:
    """The same of a row."""
    found = []
    for schema_id in dict.fromkeys((*row.service.schemas, *row.schemas)):
        schema = row.schemas.get(schema_id, Schema(schema_id))
        found.append(schema if with_schema else Schema(schema.schema_id, schema.summary))
    return found
