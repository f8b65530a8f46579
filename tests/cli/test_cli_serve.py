"""`pneumoscope serve`: what it says, what it refuses, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pneumoscope.cli.app import main
from pneumoscope.detector.card import RESEARCH_USE


def refuse(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Return the exit status and the error of a call that must not serve."""
    monkeypatch.setattr(sys, "argv", ["pneumoscope", "serve", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_missing_extra_is_named(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # importlib says that it is not there
    status, error = refuse([], monkeypatch, capsys)
    assert status == 1
    assert f"Serving needs {module}, which is not installed" in error
    assert "pip install 'pneumoscope[web]'" in error


def test_port_in_use_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, error = refuse(["--port", str(port)], monkeypatch, capsys)
    assert status == 2
    assert f"127.0.0.1:{port} cannot be listened on (Address already in use)" in error


def test_bundle_that_is_none_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, error = refuse(["--bundle", str(tmp_path / "no.onnx")], monkeypatch, capsys)
    assert status == 2
    assert "no.onnx: does not exist" in error


def test_wrong_setting_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PNEUMOSCOPE_WEB_MAX_FILES", "many")
    status, error = refuse([], monkeypatch, capsys)
    assert status == 2
    assert "max_files (PNEUMOSCOPE_WEB_MAX_FILES)" in error


def start(bundle: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    program = Path(sys.executable).with_name("pneumoscope")
    return subprocess.Popen(
        [program, "serve", "--bundle", bundle, "--port", "0", "--workers", "1", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
    )


@pytest.fixture
def run(tiny: ModuleType, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Start, wait for the two lines, end by Ctrl-C; return status, stdout and stderr."""
    bundle = tiny.write_bundle(tmp_path / "tiny.onnx")

    def run(*words: str, **environment: str) -> tuple[int, str, str]:
        process = start(bundle, *words, **environment)
        assert process.stdout is not None
        said = process.stdout.readline() + process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        return process.returncode, said + out, error

    return run


def test_address_and_use_are_said_and_ctrl_c_ends_it_well(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, error = run()
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("Pneumoscope listens at http://127.0.0.1:")
    assert lines[1] == RESEARCH_USE
    assert error == ""


def test_open_address_without_a_token_is_warned_of(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    status, out, error = run("--host", "0.0.0.0")
    assert (status, "http://0.0.0.0:" in out) == (0, True)
    assert "Anyone who reaches this address may use it" in error
    _, _, error = run("--host", "0.0.0.0", PNEUMOSCOPE_WEB_TOKEN="a-long-token")
    assert error == ""
