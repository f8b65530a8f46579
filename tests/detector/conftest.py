"""A tiny bundle for the detector's tests."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from pneumoscope.detector.predict import Detector, load


@pytest.fixture
def bundle_path(tiny: ModuleType, tmp_path: Path) -> Path:
    return tiny.write_bundle(tmp_path / "tiny.onnx")


@pytest.fixture
def detector(bundle_path: Path) -> Detector:
    return load(bundle_path)


@pytest.fixture
def save_picture(tmp_path: Path) -> Callable[..., Path]:
    """Write a gray PNG or JPEG of random cells, brighter or darker as asked."""

    def save(name: str, *, bright: float = 0.5, size: tuple[int, int] = (150, 200)) -> Path:
        rng = np.random.default_rng(len(name))
        noise = rng.uniform(-40, 40, size=size)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(255 * bright + noise, 0, 255).astype(np.uint8)).save(path)
        return path

    return save
