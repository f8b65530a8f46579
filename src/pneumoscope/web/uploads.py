"""Take the files out of a multipart body as it comes, in memory: nothing is spooled to disk."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pneumoscope.web.names import clean_name
from pneumoscope.web.refusals import Refusal, bad_request

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD: Final = "files"
_MAX_PART_HEADERS: Final = 8
_MAX_PART_HEADER_BYTES: Final = 4096
# It logs what it stumbles over, which could be a file's name.
logging.getLogger("python_multipart").disabled = True
logging.getLogger("python_multipart.multipart").disabled = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedFile:
    """One file of a request."""

    name: str  # cleaned
    data: bytes = field(repr=False)


def read_boundary(content_type: bytes) -> bytes:
    """Return the boundary that a Content-Type states.

    Raises: Refusal: 415, it is no multipart/form-data; 400, it has no boundary.
    """
    kind, options = parse_options_header(content_type)
    if kind.lower() != b"multipart/form-data":
        raise Refusal(
            415,
            "UnsupportedMediaTypeError",
            f"Send multipart/form-data with one or more files in the field {FIELD!r}, as by: "
            f"curl -F {FIELD}=@child.jpeg",
        )
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise bad_request("MalformedUploadError", "The Content-Type has no boundary.")
    return boundary


async def read_upload(
    stream: AsyncIterator[bytes], *, boundary: bytes, max_files: int
) -> list[UploadedFile]:
    """Return the files of a body, in order.

    Args:
        stream: The body in pieces; whoever gives it limits its size and time.
        boundary: See `read_boundary`.
        max_files: More are refused as soon as the next one begins.

    Raises: Refusal: 400, it is malformed, cut short, or has a field that is not ours or no file;
        413, too many files.
    """
    form = _Form(max_files=max_files)
    try:
        parser = MultipartParser(
            boundary,
            form.callbacks(),
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER_BYTES,
        )
        async for piece in stream:
            parser.write(piece)
        parser.finalize()
    except FormParserError as error:
        raise bad_request(
            "MalformedUploadError", "The body is not well-formed multipart/form-data."
        ) from error
    if not form.is_ended:  # of which not every version of the parser complains
        raise bad_request("MalformedUploadError", "The body is cut short: its end is missing.")
    if not form.files:
        raise bad_request("NoFileError", f"There is no file in the field {FIELD!r}.")
    return form.files


class _Form:
    """Collects what the parser finds."""

    def __init__(self, *, max_files: int) -> None:
        self.files: list[UploadedFile] = []
        self.is_ended = False
        self._max_files = max_files
        self._pieces: list[bytes] = []
        self._name = ""
        self._field, self._value = bytearray(), bytearray()  # of the header that is being read
        self._disposition = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        if len(self.files) >= self._max_files:
            raise Refusal(
                413,
                "TooManyFilesError",
                f"More than {self._max_files} files in one request. Send them in several.",
            )
        self._pieces, self._disposition = [], b""

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if bytes(self._field).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            raise bad_request(
                "MalformedUploadError", f"Every part must be a file in the field {FIELD!r}."
            )
        self._name = clean_name(options.get(b"filename"))

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _end(self) -> None:
        self.files.append(UploadedFile(name=self._name, data=b"".join(self._pieces)))
        self._pieces = []

    def _finish(self) -> None:
        self.is_ended = True
