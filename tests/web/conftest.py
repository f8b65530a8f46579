"""The application in this process, and a real server in another."""

import runpy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from pneumoscope.detector.predict import Detector, load
from pneumoscope.web.app import create_app
from pneumoscope.web.settings import WebSettings

_HERE = Path(__file__).parent
EXAMPLES = _HERE.parents[1] / "examples" / "radiographs"


@pytest.fixture(scope="session")
def running() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(_HERE / "running.py")))


@pytest.fixture(scope="session")
def hostile() -> SimpleNamespace:
    return SimpleNamespace(**runpy.run_path(str(_HERE / "hostile.py")))


@pytest.fixture(scope="session")
def examples() -> list[Path]:
    return sorted(EXAMPLES.rglob("*.jpeg"))


@pytest.fixture(scope="session")
def web_bundle(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web-bundle")
    return tiny.write_bundle(folder / "tiny.onnx", population={"age_years": [1, 5]})


@pytest.fixture(scope="session")
def web_detector(web_bundle: Path) -> Detector:
    return load(web_bundle)


@pytest.fixture(scope="session")
def start_client(web_bundle: Path) -> Iterator[Callable[..., TestClient]]:
    """Start an application with settings of one's own; all end with the tests."""
    with ExitStack() as stack:

        def start(**settings: Any) -> TestClient:
            words = {"bundle": web_bundle, "n_workers": 1} | settings
            app = create_app(WebSettings(**words))
            client = stack.enter_context(TestClient(app))
            client.portal.call(app.context.pool.wait_until_warm)
            return client

        yield start


@pytest.fixture(scope="session")
def client(start_client: Callable[..., TestClient]) -> TestClient:
    return start_client()


@pytest.fixture(scope="session")
def start_server(
    running: SimpleNamespace, web_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    def start(**settings: Any) -> Any:
        words = {"bundle": web_bundle} | settings
        return running.RunningServer(tmp_path_factory.mktemp("server"), **words)

    return start


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Any]) -> Iterator[Any]:
    """A real server with its limits as shipped."""
    with start_server() as running_server:
        yield running_server
