"""Errors of requests as sentences, in one shape."""

from __future__ import annotations

from collections.abc import Sequence
from queue import Full
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, StarletteHTTPException
from fastapi.responses import Response

from mmreid_uda.utils import InputError

from .guard import error_response

__all__ = ["install_errors", "sentence_of"]

_BODIES = ("body", "query", "path", "header")


def sentence_of(errors: Sequence[Any], what: str = "the request") -> str:
    """The first of the errors of pydantic, as a sentence; values are not repeated, which may be long or private.

    Args:
        errors: As pydantic lists them.
        what: Where they were found.

    Returns:
        What is wrong, and where.
    """
    first = errors[0]
    place = ".".join(str(one) for one in first["loc"] if one not in _BODIES)[:200] or what
    reason = str(first["msg"])[:200].rstrip(".")
    more = f" and {len(errors) - 1} more faults" if errors[1:] else ""
    return (
        f"found {place!r} of {what} not as it is described ({reason[:1].lower()}{reason[1:]}){more}, expected what "
        "/v1/docs says; correct it."
    )


def install_errors(app: FastAPI) -> None:
    """Give all errors the shape ``{"error": sentence}``.

    Args:
        app: The application.
    """
    handlers: dict[type[Exception], Any] = {
        RequestValidationError: _invalid,
        InputError: _unusable,
        Full: _busy,
        StarletteHTTPException: _refused,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    return error_response(422, sentence_of(error.errors()))


async def _unusable(_: Request, error: InputError) -> Response:
    return error_response(422, str(error))


async def _busy(_: Request, error: Full) -> Response:
    return error_response(
        503,
        "found too many jobs that wait, expected fewer; ask again later.",
        {"retry-after": "30"},
    )


async def _refused(request: Request, error: StarletteHTTPException) -> Response:
    sentence = str(error.detail)
    if not sentence.startswith("found"):  # of the framework
        sentence = (
            f"found {request.method} for this address ({sentence.lower()}), expected what /v1/docs lists; correct the "
            "request."
        )
    headers = dict(error.headers or {})
    if error.status_code == 413:
        headers["connection"] = "close"
    return error_response(error.status_code, sentence, headers)
