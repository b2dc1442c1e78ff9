"""/openapi.json, made from the same table as the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from manager.api.endpoint import JSON, Endpoint


class Problem(msgspec.Struct):
    """RFC 9457; `code` is stable, `detail` says what is wrong, `hint` what to do."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    hint: str = ""


def openapi(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description."""
    endpoints = tuple(endpoints)
    structs = [cls for one in endpoints for cls in (one.takes, one.gives) if isinstance(cls, type)]
    schemas, components = msgspec.json.schema_components(
        [*structs, Problem], ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip([*structs, Problem], schemas, strict=True))
    failure = {
        "description": "What is wrong and what to do",
        "content": {"application/problem+json": {"schema": schema_of[Problem]}},
    }
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        good: dict[str, Any] = {"description": one.summary}
        if one.gives is not None:
            good["content"] = _content(one.gives, schema_of)
        operation: dict[str, Any] = {
            "summary": one.summary,
            "description": (one.handler.__doc__ or "").strip(),
            "operationId": f"{one.handler.__module__.rpartition('.')[2]}_{one.handler.__name__}",
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in re.findall(r"{(\w+)}", one.path)
            ]
            + [
                {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
                for name, meaning in one.query
            ],
            "responses": {str(one.status): good, "default": failure},
            "security": [] if one.public else [{"bearer": []}],
        }
        if one.takes is not None:
            operation["requestBody"] = {"required": True, "content": _content(one.takes, schema_of)}
        paths.setdefault(one.path, {})[one.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "Privy Seal manager", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT (EdDSA, self-signed)"}
            },
        },
    }


def _content(cls: type | str, schema_of: dict[type, Any]) -> dict[str, Any]:
    if isinstance(cls, str):
        return {cls: {"schema": {"type": "string", "format": "binary"}}}
    return {JSON: {"schema": schema_of[cls]}}
