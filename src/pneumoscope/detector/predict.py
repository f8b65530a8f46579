"""From a file to an answer: decode, run the bundle, find regions, warn."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pneumoscope.core.errors import (
    ImageTooLargeError,
    PneumoscopeError,
    UnreadableImageError,
    UsageError,
)
from pneumoscope.core.types import OperatingPoint, Radiograph, Region
from pneumoscope.detector.bundle import Bundle, open_bundle
from pneumoscope.detector.card import BundleCard
from pneumoscope.detector.in_order import count_cores, map_in_order
from pneumoscope.detector.logit_scale import to_logit
from pneumoscope.detector.prediction import Failure, Prediction
from pneumoscope.detector.regions import find_regions
from pneumoscope.detector.warnings_of_input import warn_of_input
from pneumoscope.imaging.read import read_radiograph
from pneumoscope.imaging.source import MAX_PIXELS, read_source

LARGE_PIXELS: Final = 16_000_000  # few radiographs have more
# A JPEG decoded at a smaller scale keeps at least so many times the square's side: the decoder
# scales in another way than the graph, and the graph then has something left to smooth.
_SCALED_SIDES: Final = 2

Source = Path | str | bytes | NDArray[np.uint8]


def load(path: Path | str | None = None, *, n_threads: int = 1) -> "Detector":
    """Open a bundle and return the detector that answers with it.

    Args:
        path: The ``.onnx`` file; None is the bundle that ships with the package.
        n_threads: Threads that share one radiograph. `Detector.predict_many` wants 1.

    Raises: BundleError: as `open_bundle`.
    """
    return Detector(open_bundle(None if path is None else Path(path), n_threads=n_threads))


class Detector:
    """Answers for radiographs with one bundle. Any number of threads may share it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._large = Lock()

    def __repr__(self) -> str:
        return f"Detector({self.card.name} {self.card.version}, {self.bundle.path})"

    @property
    def card(self) -> BundleCard:
        """What the bundle says of itself: population, operating points, results, limits."""
        return self.bundle.card

    def operating_point(self, name: str | None = None) -> OperatingPoint:
        """Return the operating point of that name, or the card's first.

        Raises: UsageError: the bundle has none of that name.
        """
        points = {point.name: point for point in self.card.operating_points}
        if name is None:
            return self.card.operating_points[0].operating_point()
        if name not in points:
            raise UsageError(
                f"{self.card.name} has no operating point {name!r}. It has: {', '.join(points)}."
            )
        return points[name].operating_point()

    def predict(
        self,
        source: Source,
        *,
        operating_point: str | None = None,
        name: str | None = None,
        fast_decode: bool = False,
        max_pixels: int = MAX_PIXELS,
    ) -> Prediction:
        """Answer for one radiograph.

        Args:
            source: A file's path, its bytes, or (H, W) uint8 display values, larger is brighter.
            operating_point: Its name on the card; None is the card's first.
            name: What to call the radiograph instead of its path.
            fast_decode: Decode a JPEG at its own smaller scale: quicker, and the probability may
                move a little.
            max_pixels: Larger pictures are refused before they are decoded.

        Raises:
            UsageError: the bundle has no such operating point.
            RadiographError: the radiograph cannot be read.
            BundleError: the graph failed on it.
        """
        point = self.operating_point(operating_point)
        if isinstance(source, np.ndarray):
            radiograph = _from_array(source, name=name)
            sha256 = hashlib.sha256(radiograph.pixels.data).hexdigest()
            return self._answer(radiograph, name or "array", sha256, point, source=None)
        encoded = Path(source) if isinstance(source, str) else source
        data, title = read_source(encoded, name=name)
        sha256 = hashlib.sha256(data).hexdigest()

        def answer(most_pixels: int) -> Prediction:
            radiograph = read_radiograph(
                data,
                name=title,
                max_pixels=most_pixels,
                scaled_to_px=_SCALED_SIDES * self.card.size_px if fast_decode else None,
            )
            return self._answer(radiograph, title, sha256, point, source=encoded)

        try:
            return answer(min(max_pixels, LARGE_PIXELS))
        except ImageTooLargeError:
            if max_pixels <= LARGE_PIXELS:
                raise
        # One at a time: each of the largest that are allowed takes 600 MB.
        with self._large:
            return answer(max_pixels)

    def predict_many(
        self,
        paths: Iterable[Path | str],
        *,
        operating_point: str | None = None,
        fast_decode: bool = False,
        n_workers: int | None = None,
    ) -> Iterator[Prediction | Failure]:
        """Answer for each file in the order given; one that fails gives a `Failure` in its place.

        Files are decoded and inferred in threads, a few ahead of what is taken. The predictions
        hold no pictures, so that memory stays flat; `Prediction.overlay` reads the file again.

        Args:
            paths: The files; a generator is read only as far as it is needed.
            operating_point: As `predict`.
            fast_decode: As `predict`.
            n_workers: Threads; None is one for each core.

        Raises: UsageError: the bundle has no such operating point, or ``n_workers`` is below 1.
        """
        if n_workers is not None and n_workers < 1:
            raise UsageError(f"n_workers is {n_workers}; use 1 or more.")
        self.operating_point(operating_point)  # now, and not when the first answer is taken

        def answer(path: Path | str) -> Prediction | Failure:
            try:
                prediction = self.predict(
                    Path(path), operating_point=operating_point, fast_decode=fast_decode
                )
            except PneumoscopeError as error:
                return Failure(path=str(path), type=type(error).__name__, message=str(error))
            except MemoryError:
                advice = "needs more memory than is free. Scale it down, or give fewer workers"
                return Failure(path=str(path), type="MemoryError", message=f"{path}: {advice}.")
            return prediction.without_radiograph()

        return map_in_order(answer, paths, n_workers=n_workers or count_cores())

    def _answer(
        self,
        radiograph: Radiograph,
        title: str,
        sha256: str,
        point: OperatingPoint,
        *,
        source: Path | bytes | None,
    ) -> Prediction:
        answer = self.bundle.run(radiograph.pixels[None, None])
        logit, probability = float(answer.logit[0]), float(answer.probability[0])
        calibration = self.card.calibration
        threshold_logit = to_logit(point.threshold, calibration)
        is_positive = point.is_positive(probability)
        regions: tuple[Region, ...] = ()
        if is_positive:
            regions = find_regions(
                answer.cam[0],
                logit=logit,
                # The label is the probability's. At the threshold itself, rounding to float32
                # could put the logit on the other side of it.
                threshold_logit=min(threshold_logit, logit),
                height_px=radiograph.file_height_px,
                width_px=radiograph.file_width_px,
                calibration=calibration,
            )
        atypicality = float(answer.atypicality[0])
        return Prediction(
            path=title,
            sha256=sha256,
            probability=probability,
            logit=logit,
            label="pneumonia" if is_positive else "normal",
            operating_point=point,
            threshold_logit=threshold_logit,
            regions=regions,
            warnings=warn_of_input(radiograph, self.card, atypicality=atypicality),
            atypicality=atypicality,
            height_px=radiograph.file_height_px,
            width_px=radiograph.file_width_px,
            modality=radiograph.modality,
            view_position=radiograph.view_position,
            age_years=radiograph.age_years,
            sex=radiograph.sex,
            bundle=self.bundle.identity,
            cam=answer.cam[0],
            radiograph=radiograph,
            source=source,
        )


def _from_array(pixels: NDArray[np.uint8], *, name: str | None) -> Radiograph:
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise UnreadableImageError(
            f"{name or 'array'}: is {pixels.dtype} of shape {pixels.shape}. "
            "Give uint8 display values of shape (H, W), larger is brighter."
        )
    return Radiograph(pixels=np.ascontiguousarray(pixels))
