"""What every test may use."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep decoded caches of tests out of the user's."""
    os.environ["PNEUMOSCOPE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real radiographs that PNEUMOSCOPE_DATA names."""
    folder = os.environ.get("PNEUMOSCOPE_DATA")
    if not folder:
        pytest.skip("PNEUMOSCOPE_DATA is not set: this test needs the Kermany radiographs")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """Return tests/detector/tiny_bundle.py as a module; test folders are no packages."""
    path = Path(__file__).parent / "detector" / "tiny_bundle.py"
    spec = importlib.util.spec_from_file_location("tiny_bundle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the browser's tests last: Playwright's event loop stays in the thread that they run in.

    A test that calls asyncio.run behind them would be refused. Side by side this holds for each
    process, as long as files are dealt out in this order.
    """
    browser = Path(__file__).parent / "browser"
    items.sort(key=lambda item: item.path.is_relative_to(browser))
