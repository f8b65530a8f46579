"""What the log and Prometheus may know, and what they must not."""

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from pneumoscope.web.child import answer_file
from pneumoscope.web.child_process import Child
from pneumoscope.web.limits import Guard
from pneumoscope.web.log import REQUESTS
from pneumoscope.web.metrics import Metrics
from pneumoscope.web.served_bundle import load_served_bundle
from pneumoscope.web.settings import WebSettings

URL = "/api/v1/predictions"
GOLDEN = Path(__file__).parents[1] / "golden" / "reading"
LINE = re.compile(
    r"request=[0-9a-f]{16} method=[A-Z]+ route=[a-z0-9/.]+ status=\d{3} outcome=\w+ "
    r"content=(-|[0-9a-f]{64}(,[0-9a-f]{64})*) bundle=[0-9a-f]{64} ms=\d+\.\d"
)


def named_dicom() -> bytes:
    """Return a DICOM file full of what must not be seen."""
    file = pydicom.dcmread(GOLDEN / "window.dcm")
    file.PatientName, file.PatientID = "SECRET^JANE", "SECRET-17"
    file.PatientBirthDate, file.InstitutionName = "19700101", "SECRET HOSPITAL"
    buffer = io.BytesIO()
    file.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture
def lines(client: TestClient) -> Iterator[list[str]]:
    """Yield the lines that are written from now on."""
    found: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    handler, level = Handler(), REQUESTS.level
    REQUESTS.addHandler(handler)
    REQUESTS.setLevel(logging.INFO)
    yield found
    REQUESTS.setLevel(level)
    REQUESTS.removeHandler(handler)


def test_a_line_a_request_with_hashes_and_no_name(client: TestClient, lines: list[str]) -> None:
    good, bad = named_dicom(), b"SECRET words"
    reply = client.post(URL, files=[("files", ("SECRET.dcm", good)), ("files", ("SECRET", bad))])
    assert reply.status_code == 200
    (line,) = lines
    assert LINE.fullmatch(line)
    hashes = ",".join(hashlib.sha256(data).hexdigest() for data in (good, bad))
    assert f" content={hashes} " in line
    assert f" bundle={reply.headers['x-bundle-sha256']} " in line
    assert f"request={reply.headers['x-request-id']} " in line
    assert " outcome=mixed " in line


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("GET", "/SECRET.png", "route=other status=404 outcome=NotFoundError"),
        ("GET", "/device/SECRET", "route=/device/ status=404 outcome=NotFoundError"),
        ("SECRET", "/livez", "method=OTHER route=/livez status=405"),
        ("POST", f"{URL}?operating_point=SECRET", "status=400 outcome=UsageError content=-"),
        ("POST", URL, "status=415 outcome=UnsupportedMediaTypeError"),
        ("POST", f"{URL}?SECRET=SECRET", "status=400 outcome=UsageError content=-"),
        ("GET", "/livez?SECRET", "status=200 outcome=ok content=-"),
    ],
)
def test_what_a_client_makes_up_is_not_in_the_line(
    client: TestClient, lines: list[str], method: str, path: str, words: str
) -> None:
    client.request(method, path, headers={"User-Agent": "SECRET", "X-Request-Id": "SECRET"})
    (line,) = lines
    assert LINE.fullmatch(line)
    assert words in line
    assert "SECRET" not in line


def test_real_server_writes_these_lines_and_nothing_else(
    start_server: Callable[..., Any], hostile: Any
) -> None:
    with start_server() as server:
        server.post(("SECRET.dcm", named_dicom()))
        server.post(("SECRET.png", hostile.png_bomb()))
        server.get("/SECRET")
    written = [line for line in server.log().splitlines() if "/metrics" not in line]
    assert len(written) == 3
    for line in written:
        assert LINE.fullmatch(re.sub(r"^[\d-]+ [\d:,]+ INFO ", "", line))
        assert "SECRET" not in line


def test_fault_is_a_500_whose_words_stay_out_of_the_log(
    web_bundle: Path, caplog: pytest.LogCaptureFixture, lines: list[str]
) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("SECRET^JANE")

    bundle = load_served_bundle(web_bundle)
    guard = Guard(
        broken,
        settings=WebSettings(bundle=web_bundle),
        bundle_sha256=bundle.sha256,
        metrics=Metrics(bundle),
    )
    with caplog.at_level(logging.INFO):
        reply = TestClient(guard).get("/livez")
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "InternalError"
    assert reply.headers["x-bundle-sha256"] == bundle.sha256
    assert "ValueError at" in caplog.text
    assert "test_web_log.py" in caplog.text
    assert "SECRET" not in caplog.text + reply.text
    assert "outcome=ValueError" in lines[0]


def test_fault_of_ours_in_a_worker_is_a_500_and_no_words_of_it_are_logged(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Broken:
        def predict(self, *args: Any, **words: Any) -> None:
            raise ZeroDivisionError("SECRET^JANE")

    async def ask(child: Any, facts: Any, data: bytes = b"") -> Any:
        return answer_file(Broken(), facts, data, max_pixels=1)  # type: ignore[arg-type]

    monkeypatch.setattr(Child, "ask", ask)
    with caplog.at_level(logging.INFO):
        reply = client.post(URL, files=[("files", ("SECRET.dcm", named_dicom()))] * 2)
    assert reply.status_code == 500
    assert reply.json()["error"]["type"] == "InternalError"
    for result in reply.json()["results"]:
        assert result["error"] == {
            "type": "InternalError",
            "message": "SECRET.dcm: the server failed on it. The fault is in its log.",
        }
    assert "outcome=InternalError" in lines[0]
    faults = [text for text in caplog.messages if " failed: " in text]
    line_raised = Broken.predict.__code__.co_firstlineno + 1
    where = f"ZeroDivisionError at {__file__}:{line_raised}"
    request = reply.headers["x-request-id"]
    assert faults == [f"request={request} failed: {where}"] * 2
    assert "SECRET" not in caplog.text
    assert "JANE" not in reply.text


def read_metrics(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_requests_outcomes_probabilities_and_warnings(
    start_client: Callable[..., TestClient], examples: list[Path], web_detector: Any
) -> None:
    client = start_client()
    probabilities = [web_detector.predict(path).probability for path in examples[:3]]
    for path in examples[:3]:
        client.post(URL, files={"files": path.read_bytes()})
    client.post(URL, files=[("files", b"SECRET")] * 2)
    client.get("/SECRET")
    found = read_metrics(client)

    def value(metric: str, **labels: str) -> float:
        return found[f"pneumoscope_{metric}", tuple(sorted(labels.items()))]

    assert value("requests_total", method="POST", route=URL, status="200") == 3
    assert value("requests_total", method="POST", route=URL, status="422") == 1
    assert value("requests_total", method="GET", route="other", status="404") == 1
    assert value("request_seconds_count", route=URL) == 4
    positive = sum(probability >= 0.5 for probability in probabilities)
    if positive:
        assert value("files_total", outcome="pneumonia") == positive
    assert value("files_total", outcome="UnreadableImageError") == 2
    assert value("probability_count") == 3
    assert value("probability_sum") == pytest.approx(sum(probabilities))
    at_most_half = sum(probability <= 0.5 for probability in probabilities)
    assert value("probability_bucket", le="0.5") == at_most_half
    assert value("file_seconds_count") == 3
    assert value("warnings_total", code="age") == 3
    assert value("queue_files") == 0
    assert value("workers_ready") == 1
    assert value("held_bytes") == 0
    card = web_detector.bundle.identity
    assert value("bundle_info", **card) == 1
    assert "SECRET" not in client.get("/metrics").text
