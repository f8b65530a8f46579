"""The bundle that a server answers with: checked once, its bytes kept for the page."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pneumoscope.core.errors import BundleError
from pneumoscope.detector.bundle import SHIPPED_BUNDLE, open_bundle
from pneumoscope.detector.card import BundleCard


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedBundle:
    """What the server knows of its bundle. Inference itself is the workers' business."""

    path: Path | None  # None is the shipped one
    sha256: str
    card: BundleCard
    data: bytes = field(repr=False)  # the file's, as it was when the server started

    def card_with_hash(self) -> dict[str, Any]:
        """Return the card as JSON values, and the file's hash beside them."""
        return self.card.model_dump(mode="json") | {"sha256": self.sha256}


def load_served_bundle(path: Path | None) -> ServedBundle:
    """Open a bundle to check it, and keep its bytes and its card.

    Raises: BundleError: as `open_bundle`, or the file changed meanwhile.
    """
    opened = open_bundle(path)
    data = (SHIPPED_BUNDLE if path is None else path).read_bytes()
    if hashlib.sha256(data).hexdigest() != opened.sha256:
        raise BundleError(f"{opened.path}: was being written while it was read. Start again.")
    return ServedBundle(path=path, sha256=opened.sha256, card=opened.card, data=data)
