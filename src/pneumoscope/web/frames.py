"""How server and worker talk: a frame is two lengths, a JSON object, and bytes as they are."""

import json
import struct
from asyncio import StreamReader
from typing import Any, BinaryIO, Final

LENGTHS: Final = struct.Struct(">II")
Facts = dict[str, Any]


def pack_head(facts: Facts, n_bytes: int) -> bytes:
    """Return a frame without its bytes, which are sent behind it without another copy."""
    head = json.dumps(facts, allow_nan=False).encode()
    return LENGTHS.pack(len(head), n_bytes) + head


def write_frame(stream: BinaryIO, facts: Facts, data: bytes = b"") -> None:
    """Write a frame and flush it."""
    stream.write(pack_head(facts, len(data)))
    stream.write(data)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[Facts, bytes] | None:
    """Return the next frame; None where the other side has ended, even within one."""
    lengths = stream.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    n_head, n_data = LENGTHS.unpack(lengths)
    head, data = stream.read(n_head), stream.read(n_data) if n_data else b""
    if len(head) < n_head or len(data) < n_data:
        return None
    return json.loads(head), data


async def receive_frame(reader: StreamReader) -> tuple[Facts, bytes]:
    """Return the next frame.

    Raises: asyncio.IncompleteReadError: the other side has ended.
    """
    n_head, n_data = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
    head = await reader.readexactly(n_head)
    return json.loads(head), await reader.readexactly(n_data) if n_data else b""
