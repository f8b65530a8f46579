"""Settings come from the environment, and what is wrong with them is told."""

import re
from pathlib import Path

import pytest

from pneumoscope.core.errors import UsageError
from pneumoscope.web.headers import SECURITY_HEADERS
from pneumoscope.web.settings import WebSettings

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"


def test_environment_is_read_and_what_is_given_goes_before_it() -> None:
    found = WebSettings.from_environment(
        {
            "PNEUMOSCOPE_WEB_PORT": "9000",
            "PNEUMOSCOPE_WEB_HOST": "::1",
            "PNEUMOSCOPE_WEB_DECODE_S": "1.5",
            "PNEUMOSCOPE_WEB_TOKEN": "a-long-token",
            "PNEUMOSCOPE_WEB_BUNDLE": "",
            "PNEUMOSCOPE_DATA": "elsewhere",
        },
        port=9001,
        host=None,
    )
    assert (found.port, found.host, found.decode_s, found.bundle) == (9001, "::1", 1.5, None)
    assert "a-long-token" not in repr(found)


def test_defaults_are_safe() -> None:
    found = WebSettings()
    assert found.host == "127.0.0.1"
    assert found.max_body_bytes <= 64 << 20
    assert found.max_pixels <= 64_000_000
    assert found.memory_mib <= 512
    assert found.queue_files >= 100


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "http", r"port \(PNEUMOSCOPE_WEB_PORT\): .*integer"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("TOKEN", "secret-token ", r"token \(PNEUMOSCOPE_WEB_TOKEN\): .*visible ASCII"),
        ("TOKEN", "schlüsselwort", "visible ASCII"),
        ("MAX_FILES", "0", "greater than or equal to 1"),
        ("TOKEN", "short", "at least 8"),
        ("MAX_FILE", "3", "PNEUMOSCOPE_WEB_MAX_FILE: there is no such setting.*MAX_FILES"),
        ("MAX_FILES", "1000", "queue_files is below max_files"),
        ("MAX_HELD_BYTES", "2000", "max_held_bytes is below max_body_bytes"),
    ],
)
def test_wrong_value_is_told_with_its_variable(name: str, value: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        WebSettings.from_environment({f"PNEUMOSCOPE_WEB_{name}": value})
    if name == "TOKEN":
        assert "short" not in str(caught.value).replace("too short", "")


def test_documentation_has_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| `PNEUMOSCOPE_WEB_(\w+)` \| ([^|]+) \|", DEPLOY.read_text(), re.M)
    documented = {name.lower(): default.strip() for name, default in rows}
    assert set(documented) == set(WebSettings.model_fields)
    for name, field in WebSettings.model_fields.items():
        if isinstance(field.default, int | float):
            assert float(documented[name].replace(",", "")) == field.default


def test_static_sites_examples_send_the_servers_headers() -> None:
    text = DEPLOY.read_text()
    for value in SECURITY_HEADERS.values():
        assert text.count(value) >= 2  # nginx and Caddy
    for name in SECURITY_HEADERS:
        assert len(re.findall(rf"{name} \S", text)) == 2
