"""Schemas as documents: what they say, and that nobody's text costs more than it may."""

from __future__ import annotations

import json
from time import perf_counter

import pytest

from registry.http_api.schema_document import READ_MAX_BYTES
from registry.http_api.schema_text import DEPTH_MAX, VALUES_MAX, read


def test_yaml_and_json_are_read() -> None:
    expected = {"swagger": "2.0", "paths": {"/a": {"get": {"responses": {"200": {"description": "ok"}}}}}}
    text = 'swagger: "2.0"\npaths: {/a: {get: {responses: {200: {description: ok}}}}}'
    assert read(text) == read(json.dumps(expected)) == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "no YAML"),
        ("[" * 500 + "]" * 500, f"more than {DEPTH_MAX} deep"),
        ("[" * 100_000, "no YAML"),
        ("- a\n" * (VALUES_MAX + 1), f"more than {VALUES_MAX} values"),
        ("a: &a [*a]", "deep"),
        ("&a x: 1\n? [k]\n: 2\n\t", "no YAML"),
    ],
)
def test_what_is_no_document_is_said(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(text)


def test_a_text_that_names_one_value_very_often_is_given_up() -> None:
    """Nine levels of nine references are 387 million values: a few hundred bytes must not end the registry."""
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(ValueError, match="values"):
        read("\n".join(levels))


def test_the_largest_text_is_read_in_a_moment() -> None:
    text = "\n".join(f"k{number}: value" for number in range(20_000))
    assert len(text) < READ_MAX_BYTES
    began = perf_counter()
    assert len(read(text)) == 20_000
    assert perf_counter() - began < 10


def test_keys_that_are_no_words_stand_for_something_else() -> None:
    assert read("? [a, b]\n: 1\nc: 2") == {"?": "1", "c": "2"}
