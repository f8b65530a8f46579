"""What every test may use."""

import os
from pathlib import Path

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
