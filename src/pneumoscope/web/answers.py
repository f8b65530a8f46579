"""The shapes of the API's JSON, for its description; the replies themselves are built as bytes."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pneumoscope.detector.card import BundleCard
from pneumoscope.web.refusals import STATUS_OF_FAILURE, error_body
from pneumoscope.web.workers import Reply

_LABELS: Final = ("normal", "pneumonia")


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PointShape(_Shape):
    """The operating point that the label rests on."""

    name: str
    threshold: float = Field(ge=0, le=1)


class RegionShape(_Shape):
    """A box round strong evidence, in pixels of the file's own picture."""

    x: float
    y: float
    width: float
    height: float
    score: float = Field(ge=0, le=1)


class BundleShape(_Shape):
    """Which bundle gave the answer."""

    name: str
    version: str
    sha256: str


class ImageShape(_Shape):
    """The file's own pixels, upright."""

    height: int
    width: int


class MapShape(_Shape):
    """The class activation map: evidence in logits."""

    height: int
    width: int
    values: list[float] = Field(description="Row by row.")
    threshold_logit: float | None = Field(description="null where the threshold is 0 or 1.")


class AnswerShape(_Shape):
    """What the bundle says of one file. Research use only: no diagnosis may rest on it."""

    path: str = Field(description="The file name that was sent, without folders.")
    sha256: str = Field(description="Of the file's bytes.")
    probability: float = Field(ge=0, le=1, description="Calibrated.")
    logit: float
    label: Literal["pneumonia", "normal"]
    operating_point: PointShape
    regions: list[RegionShape]
    warnings: list[str] = Field(description="Each begins with a stable code and a colon.")
    bundle: BundleShape
    image: ImageShape
    atypicality: float
    seconds: float = Field(description="Decoding and inference.")
    map: MapShape | None = Field(default=None, description="With include=map.")
    overlay_png: str | None = Field(default=None, description="Base64; with include=overlay.")
    picture_png: str | None = Field(
        default=None, description="Base64, gray, every pixel; with include=picture."
    )


class ErrorShape(_Shape):
    """What went wrong, and what to do."""

    type: str
    message: str


class FailureShape(_Shape):
    """A file that could not be answered; others of the request may have been."""

    path: str
    error: ErrorShape


class RefusalShape(_Shape):
    """A request that was refused."""

    error: ErrorShape


class AllFailedShape(RefusalShape):
    """A request of which no file could be answered."""

    results: list[FailureShape] = []


class CardShape(BundleCard):
    """The bundle's card, and the hash of its file."""

    sha256: str


def answer_all(replies: Sequence[Reply]) -> Response:
    """Return the reply to a request: the array, or an error where no file was answered."""
    array = b"[" + b",".join(body for _, body in replies) + b"]"
    outcomes = [facts["outcome"] for facts, _ in replies]
    if any(outcome in _LABELS for outcome in outcomes):
        return Response(array, media_type="application/json")
    kind = outcomes[0] if len(set(outcomes)) == 1 else "NoAnswerError"
    status = STATUS_OF_FAILURE.get(kind, 422)
    n = len(replies)
    message = "The file could not be answered." if n == 1 else f"None of {n} files was answered."
    body = error_body(kind, f"{message} The reasons are in `results`.")
    return Response(
        body[:-1] + b', "results": ' + array + b"}",
        status_code=status,
        headers={"Retry-After": "1"} if status == 503 else None,
        media_type="application/json",
    )
