"""The page of caches says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import registry
from registry.archive import folder
from registry.domain import find
from registry.history import cache, newest, past, snapshots
from registry.http_api import api, call, reply
from registry.serving import again, elements, heads, known, recognise, responses
from registry.store import redis_store
from registry.usecases import principals

PAGE = (Path(registry.__file__).parent / "docs" / "caches.md").read_text()
#: Of each row that names a number of bytes: entries and bytes, as the code has them; None: not counted in bytes.
BOUNDS = {
    "serving.heads.Heads": (heads.BLOCKS_MAX, heads.BLOCKS_MAX_BYTES),
    "serving.recognise.Recogniser": (recognise.MEANT_MAX, recognise.MEANT_MAX_BYTES),
    "serving.known.KnownFinds": (known.FINDS_MAX, known.FINDS_MAX_BYTES),
    "serving.known.KnownBatches": (known.BATCHES_MAX, known.BATCHES_MAX_BYTES),
    "serving.again.Repeats": (1, again.REPEATS_MAX_BYTES),
    "serving.responses.FindResponses": (responses.HEADS_MAX, responses.HEADS_MAX_BYTES),
    "http_api.api.Api.finds": (api.MEANT_MAX, api.MEANT_MAX_BYTES),
    "http_api.api.Api.batches": (api.MEANT_MAX, api.MEANT_MAX_BYTES),
    "serving.elements.Elements": (elements.ELEMENTS_MAX, elements.ELEMENTS_MAX_BYTES),
    "serving.elements.Elements.updates_size": (elements.UPDATES_MAX, elements.UPDATES_MAX_BYTES),
    "http_api.reply.Compressor": (reply.GZIP_KEPT_MAX, reply.GZIP_KEPT_MAX_BYTES),
    "usecases.principals.Principals": (principals.REMEMBERED_MAX, principals.REMEMBERED_MAX_BYTES),
    "http_api.call.tenant_of": (call.TENANTS_REMEMBERED, None),
    "store.redis_store.RedisStore": (redis_store.TENANT_KEYS_MAX, None),
    "domain.view.ServiceGroup": (find.ANSWERS_PER_GROUP_MAX, None),
    "history.cache.Views": (cache.VIEWS_MAX, None),
    "history.past.Past.parts": (past.PARTS_MAX, None),
    "history.snapshots.Snapshots": (snapshots.MOMENTS_MAX, snapshots.MOMENTS_MAX_BYTES),
    "history.newest.NewestOf": (newest.TENANTS_MAX, None),
    "archive.folder.Folder": (folder.BLOCKS_MAX, None),
}


def test_every_cache_has_the_bounds_that_the_page_names() -> None:
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert [name for name, _, _ in rows] == list(BOUNDS)
    for name, entries, size in rows:
        number, size_max = BOUNDS[name]
        assert int(entries.replace(",", "").split()[0]) == number, name
        if size_max is not None:
            assert int(size.split()[0]) * 1024 * 1024 == size_max, name
