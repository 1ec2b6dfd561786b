"""The page about the HTTP API: made of its OpenAPI description by the server, without scripts or a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

__all__ = ["docs_page"]

_METHODS = ("get", "post", "patch", "delete")


def docs_page(description: dict[str, Any]) -> str:
    """List all routes with what goes in and comes out.

    Args:
        description: As ``FastAPI.openapi()`` gives it.

    Returns:
        HTML.
    """
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<link rel="stylesheet" href="/style.css"></head><body class="docs"><main>'
        f"<h1>{title}</h1><p>{escape(description['info'].get('description', ''))} "
        'The same for programs: <a href="/v1/openapi.json">openapi.json</a>.</p>'
        f"{''.join(_routes(description))}<h2>Types</h2>{''.join(_types(description))}</main></body></html>\n"
    )


def _routes(description: dict[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method in (one for one in _METHODS if one in methods):
            yield from _route(path, method, methods[method])


def _route(path: str, method: str, route: dict[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
    yield f"<p>{escape(route.get('description') or route.get('summary', ''))}</p>"
    rows = [
        (one["name"], one["in"], _kind(one["schema"]), _needed(one.get("required")))
        for one in route.get("parameters", ())
    ]
    for form, content in route.get("requestBody", {}).get("content", {}).items():
        rows.append(("body", form, _kind(content["schema"]), "needed"))
    for status, response in route["responses"].items():
        kinds = [
            _kind(content["schema"]) if content.get("schema") else escape(form)
            for form, content in response.get("content", {}).items()
        ]
        rows.append((status, "response", " or ".join(kinds), escape(response["description"])))
    cells = (
        f"<tr><td>{escape(name)}</td><td>{escape(place)}</td><td>{kind}</td><td>{more}</td></tr>"
        for name, place, kind, more in rows
    )
    yield f"<table>{''.join(cells)}</table>"


def _types(description: dict[str, Any]) -> Iterator[str]:
    for name, schema in description.get("components", {}).get("schemas", {}).items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
        rows = (
            f"<tr><td>{escape(field)}</td><td>{_kind(one)}</td>"
            f"<td>{_needed(field in schema.get('required', ()))}</td><td>{escape(one.get('description', ''))}</td></tr>"
            for field, one in schema.get("properties", {}).items()
        )
        yield f"<table>{''.join(rows)}</table>"


def _needed(needed: bool | None) -> str:
    return "needed" if needed else ""


def _kind(schema: dict[str, Any]) -> str:
    """A type in a few words, HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return escape(", ".join(json.dumps(one) for one in values))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = escape(schema.get("format") or schema.get("type") or "any")
    limits = [
        f"{word} {schema[key]}"
        for key, word in (
            ("minimum", "from"),
            ("maximum", "to"),
            ("maxLength", "at most, letters:"),
        )
        if key in schema
    ]
    return f"{kind} ({', '.join(limits)})" if limits else kind
