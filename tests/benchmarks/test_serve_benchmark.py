"""The benchmark of `serve`: what its generator sends, what it counts as wrong, and its bars."""

import argparse
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from benchmarks.options import parse_arguments
from benchmarks.pictures import repeat_pictures
from benchmarks.serve_load import Upload, count_faults, make_upload
from benchmarks.serve_parts import compare_latency, compare_many, compare_throughput
from benchmarks.table import markers
from PIL import Image

from benchmarks import __main__ as program
from benchmarks import serve_side
from pneumoscope.web.uploads import read_boundary

ROOT = Path(__file__).parents[2]


@pytest.fixture
def arguments(tiny: ModuleType, tmp_path: Path) -> argparse.Namespace:
    few = tmp_path / "few"
    few.mkdir()
    for index in range(3):
        pixels = np.full((60, 80), 40 * (index + 1), np.uint8)
        Image.fromarray(pixels).save(few / f"{index}.jpeg")
    folder = repeat_pictures(few, tmp_path / "work" / "many", n_files=6)
    bundle = tiny.write_bundle(tmp_path / "tiny.onnx", size_px=32)
    return argparse.Namespace(
        folder=folder, bundle=bundle, threads=1, rounds=2, requests=20, clients=4, distinct=3
    )


def test_upload_is_one_whole_request(tmp_path: Path) -> None:
    path = tmp_path / "a.jpeg"
    path.write_bytes(b"\xff\xd8pixels")
    head, _, body = make_upload(path).data.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ") for line in head.split(b"\r\n")[1:])
    assert int(headers[b"Content-Length"]) == len(body)
    assert body.count(read_boundary(headers[b"Content-Type"])) == 2
    assert b"\r\n\r\n\xff\xd8pixels\r\n--" in body


def test_every_kind_of_fault_is_counted() -> None:
    uploads = [Upload(b"", "one"), Upload(b"", "two")]
    said = [{"path": "x", "sha256": name, "logit": logit} for name, logit in
            (("one", 1.0), ("two", 2.0))]  # fmt: skip

    def reply(index: int, **changes: object) -> tuple[int, bytes]:
        return 200, json.dumps([said[index] | {"path": "sent", "seconds": 1} | changes]).encode()

    good = [reply(0), reply(1), reply(0)]
    assert count_faults(good, uploads, said) == 0
    assert count_faults([reply(1), reply(0), reply(0)], uploads, said) == 2  # mixed up
    assert count_faults([None, *good[1:]], uploads, said) == 1
    assert count_faults([(503, b""), *good[1:]], uploads, said) == 1
    assert count_faults([reply(0, logit=1.0000001), *good[1:]], uploads, said) == 1


def test_pieces_measure_a_real_server(arguments: argparse.Namespace) -> None:
    latency = serve_side.measure_latency(arguments)
    one, other = latency["ms"]["server"], latency["ms"]["alone"]
    assert latency["ratios"] == [a / b for a, b in zip(one, other, strict=True)]
    assert len(one) == 2
    with Image.open(arguments.folder.parent / "latency.jpeg") as picture:
        assert picture.size == (1400, 1100)
    speed = serve_side.measure_throughput(arguments)
    assert speed["ratios"][0] == pytest.approx(
        speed["files_per_s"]["server"][0] / speed["files_per_s"]["predict"][0]
    )
    many = serve_side.measure_many(arguments)
    assert (many["n_faults"], many["n_requests"]) == (0, 20)
    assert many["before_mib"] > 50


def test_bars() -> None:
    slow = {"ms": {"server": [26.0, 13.2, 12.0], "alone": [10.0, 10.0, 10.0]}, "ratios": [2.6, 1.32, 1.2]}  # fmt: skip # noqa: E501
    assert (compare_latency(slow).ratio, compare_latency(slow).verdict) == (1.32, "missed")
    assert compare_latency(slow | {"ratios": [2.6, 1.3, 1.2]}).verdict == "met"
    speed = {"files_per_s": {"server": [75.0], "predict": [100.0]}, "ratios": [0.75]}
    assert compare_throughput(speed).verdict == "met"
    assert compare_throughput(speed | {"ratios": [0.74]}).verdict == "missed"
    many = {"n_faults": 0, "n_requests": 2000, "before_mib": 400.0, "after_mib": 430.0}
    assert [row.verdict for row in compare_many(many)] == ["met", "met"]
    assert compare_many(many | {"n_faults": 1})[0].verdict == "missed"
    assert compare_many(many | {"after_mib": 431.0})[1].verdict == "missed"


def test_serve_needs_no_data_and_has_a_section() -> None:
    options = parse_arguments(["--only", "serve"])
    assert (options.data, program.section_name(options)) == (None, "serve")
    both = parse_arguments(["--only", "predict,serve"])
    assert program.section_name(both) == "predict+serve"
    markers(ROOT / "docs" / "benchmarks.md", "serve")
    with pytest.raises(SystemExit):
        parse_arguments(["--only", "serve,run"])
