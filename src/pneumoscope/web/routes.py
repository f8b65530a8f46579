"""The API's routes: parse, hand to the workers, answer."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from starlette.responses import Response

from pneumoscope.web.answers import (
    AllFailedShape,
    AnswerShape,
    CardShape,
    FailureShape,
    RefusalShape,
    answer_all,
)
from pneumoscope.web.describe import PARTS
from pneumoscope.web.held import HeldBytes
from pneumoscope.web.log import record_of
from pneumoscope.web.metrics import CONTENT_TYPE, Metrics
from pneumoscope.web.refusals import Refusal, bad_request, try_later
from pneumoscope.web.served_bundle import ServedBundle
from pneumoscope.web.settings import WebSettings
from pneumoscope.web.uploads import FIELD, read_boundary, read_upload
from pneumoscope.web.workers import Job, Reply, WorkerPool

PARAMETERS: Final = ("operating_point", "include")
_logger = logging.getLogger(__name__)
_REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"model": RefusalShape, "description": text}
    for status, text in (
        (400, "The request makes no sense: its form or its query."),
        (401, "The token is missing or wrong."),
        (408, "The body came too slowly."),
        (415, "The body is not multipart/form-data."),
        (431, "Too many headers, or too long ones."),
    )
}
_ALL_FAILED: dict[int | str, dict[str, Any]] = {
    status: {"model": AllFailedShape, "description": text}
    for status, text in (
        (413, "Too large: the body, the number of files or every picture (or its need of memory)."),
        (422, "No file could be answered."),
        (500, "The server failed on every file; the fault is in its log."),
        (503, "The queue is full or the server not ready; see Retry-After."),
        (504, "Decoding took too long."),
    )
}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "JPEG, PNG or DICOM by their first bytes.",
                        }
                    },
                }
            }
        },
    }
}


class ClientGoneError(Exception):
    """The client left before its answer was ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What the routes work with."""

    settings: WebSettings
    bundle: ServedBundle
    pool: WorkerPool
    metrics: Metrics
    held: HeldBytes


def make_router(context: Context) -> APIRouter:
    """Return the API's routes."""
    router = APIRouter()
    # It only tells the description; `Guard` has checked the token before.
    guarded = [Depends(HTTPBearer(auto_error=False))] if context.settings.token else []
    points = [point.name for point in context.bundle.card.operating_points]
    card = json.dumps(context.bundle.card_with_hash()).encode()

    @router.post(
        "/api/v1/predictions",
        summary="Answer for one or many radiographs",
        response_model=list[AnswerShape | FailureShape],
        responses=_REFUSED | _ALL_FAILED,
        openapi_extra=_UPLOAD,
        dependencies=guarded,
        tags=["predictions"],
    )
    async def predict(
        request: Request,
        operating_point: Annotated[
            str,
            Query(
                description="Its name on the card; the card's first without it.",
                json_schema_extra={"enum": points},
            ),
        ] = points[0],
        include: Annotated[
            str,
            Query(
                description=f"Some of {', '.join(PARTS)}, with commas between.",
                json_schema_extra={"pattern": f"^(({'|'.join(PARTS)})(,({'|'.join(PARTS)}))*)?$"},
            ),
        ] = "",
    ) -> Response:
        """One object a file, in the order sent; a file that failed has `error` instead.

        Nothing that is sent is stored. Research use only: not a medical device.
        """
        check_query([name for name, _ in request.query_params.multi_items()])
        if operating_point not in points:
            raise bad_request(
                "UsageError", f"There is no such operating_point. There are: {', '.join(points)}."
            )
        parts = parse_include(include)
        context.pool.check_room()  # before the body is read in vain
        boundary = read_boundary(request.headers.get("content-type", "").encode("latin-1"))
        with context.held.open() as held:
            files = await read_upload(
                _pieces(request, held.take),
                boundary=boundary,
                max_files=context.settings.max_files,
            )
            jobs = [
                Job(name=file.name, data=file.data, operating_point=operating_point, include=parts)
                for file in files
            ]
            return answer_all(await _answer(request, jobs, context, held.take))

    @router.get(
        "/api/v1/bundle",
        summary="What the bundle says of itself",
        response_model=CardShape,
        responses={401: _REFUSED[401]},
        dependencies=guarded,
        tags=["bundle"],
    )
    async def bundle() -> Response:
        return Response(card, media_type="application/json")

    @router.get("/livez", summary="Whether the server runs", tags=["health"])
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get(
        "/readyz",
        summary="Whether it can answer",
        responses={503: {"model": RefusalShape, "description": "Not yet, or no more."}},
        tags=["health"],
    )
    async def readyz() -> dict[str, str]:
        if not context.pool.is_ready:
            raise try_later("NotReadyError", f"Not ready: {context.pool.trouble}.", after_s=2)
        return {"status": "ready"}

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(context.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    _answer_head(router)
    return router


def _answer_head(router: APIRouter) -> None:
    """Let every route that answers GET answer HEAD; the server leaves out the body.

    Starlette's own routes do, FastAPI's do not. Routes of their own keep HEAD out of the
    description, where it would double each operation.
    """
    for route in [each for each in router.routes if isinstance(each, APIRoute)]:
        if "GET" in (route.methods or ()):
            router.add_api_route(
                route.path, route.endpoint, methods=["HEAD"], include_in_schema=False
            )


async def _pieces(request: Request, take: Callable[[int], None]) -> AsyncIterator[bytes]:
    """Yield the body as it comes. Raises: ClientGoneError: it ended in between."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        piece: bytes = message.get("body", b"")
        take(len(piece))
        if piece:
            yield piece
        if not message.get("more_body", False):
            return


async def _answer(
    request: Request, jobs: Sequence[Job], context: Context, take: Callable[[int], None]
) -> list[Reply]:
    """Return the workers' answers in order; drop the work when the client leaves.

    Raises: Refusal: 503, the queue is full or there is no room to hold all answers.
    """
    refusals: list[Refusal] = []

    def charge(n_bytes: int) -> None:
        try:
            take(n_bytes)
        except Refusal as refusal:
            refusals.append(refusal)
            for job in jobs:  # at once, before a worker is given the next of them
                job.reply.cancel()

    for job in jobs:
        job.charge = charge
    context.pool.submit(jobs)
    answers = asyncio.create_task(asyncio.wait([job.reply for job in jobs]))
    gone = asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait((answers, gone), return_when=asyncio.FIRST_COMPLETED)
        if refusals:
            raise refusals[0]
        if not answers.done():
            raise ClientGoneError
        replies = [job.reply.result() for job in jobs]
    finally:
        gone.cancel()
        answers.cancel()
        for job in jobs:  # whatever still waits
            job.reply.cancel()
    record = record_of(request.scope)
    for facts, _ in replies:
        context.metrics.count_file(facts)
        record.content.append(facts["sha256"])
        if "fault" in facts:
            _logger.error("request=%s failed: %s", record.request_id, facts["fault"])
    outcomes = {facts["outcome"] for facts, _ in replies}
    record.outcome = outcomes.pop() if len(outcomes) == 1 else "mixed"
    return replies


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def check_query(names: Sequence[str]) -> None:
    """Refuse a parameter that would be ignored: the answer would not be what was asked for.

    Raises: Refusal: 400, there is no such parameter, or it comes twice.
    """
    if any(name not in PARAMETERS for name in names):
        raise bad_request(
            "UsageError", f"There is no such query parameter. There are: {', '.join(PARAMETERS)}."
        )
    if len(set(names)) < len(names):
        raise bad_request("UsageError", f"Send each of {', '.join(PARAMETERS)} at most once.")


def parse_include(text: str) -> tuple[str, ...]:
    """Return the parts that are asked for. Raises: Refusal: 400, there is no such part."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if any(word not in PARTS for word in words):
        raise bad_request("UsageError", f"`include` takes some of: {', '.join(PARTS)}.")
    return tuple(part for part in PARTS if part in words)
