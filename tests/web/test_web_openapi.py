"""The API keeps what its own description promises, whatever is sent."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)

CASES = (
    ("POST /api/v1/predictions", GenerationMode.POSITIVE),
    ("POST /api/v1/predictions", GenerationMode.NEGATIVE),
    # Nothing can be wrong with a request without parameters.
    ("GET /api/v1/bundle", GenerationMode.POSITIVE),
    ("GET /livez", GenerationMode.POSITIVE),
    ("GET /readyz", GenerationMode.POSITIVE),
)


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_replies_are_as_described_and_never_a_500(
    server: Any, label: str, mode: GenerationMode
) -> None:
    method, path = label.split()
    operation = schemathesis.openapi.from_url(f"{server.url}/openapi.json")[path][method]
    n_replies = 0

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=40,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        nonlocal n_replies
        case.call_and_validate(checks=CHECKS)
        n_replies += 1

    check()
    assert n_replies >= (20 if method == "POST" else 1)


def test_description_names_every_route_of_the_api(server: Any) -> None:
    value = server.get("/openapi.json").json()
    assert set(value["paths"]) == {
        "/api/v1/predictions", "/api/v1/bundle", "/livez", "/readyz"
    }  # fmt: skip
    post = value["paths"]["/api/v1/predictions"]["post"]
    assert set(post["responses"]) == {
        "200", "400", "401", "408", "413", "415", "422", "431", "500", "503", "504"
    }  # fmt: skip
    form = post["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["files"]["items"]["format"] == "binary"
    points = next(each for each in post["parameters"] if each["name"] == "operating_point")
    assert points["schema"]["enum"] == ["balanced", "sensitive"]


def test_good_answer_fits_its_description(server: Any, examples: list[Any]) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operation = schema["/api/v1/predictions"]["POST"]
    case = operation.Case(query={"include": "map,overlay,picture"})
    reply = case.call(files=[("files", ("a.jpeg", examples[0].read_bytes()))])
    assert reply.status_code == 200
    operation.validate_response(reply)
