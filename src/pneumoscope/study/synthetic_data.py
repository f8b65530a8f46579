"""The real radiographs that synthetic ones are set against, and the embedding of both."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter
from scipy.optimize import brentq

from pneumoscope.data.cache import DecodedCache
from pneumoscope.detector.bundle import Bundle

_BATCH = 32
# Standard deviation, in pixels of the DCGAN's size. Of 100 copies of the Kermany set's normals at
# 64 px, blurred by 0.5 px, the check finds all in gray values and 91 in pneumoscope-1's embedding;
# blurred by 0.7 px, all and 29.
BLUR_PX = 0.5
_MOST_BLUR_PX = 4.0  # of the control that is as smooth as the samples


@dataclass(frozen=True)
class Seen:
    """One set of pictures, twice: as gray values and as the bundle embeds them."""

    pixels: NDArray[np.uint8]  # (N, size, size)
    embedding: NDArray[np.float64]  # (N, D)
    whose: NDArray[np.int64]  # (N,) a number a patient; of samples, one each

    @property
    def flat(self) -> NDArray[np.float64]:
        """(N, size * size) gray values."""
        return self.pixels.reshape(len(self.pixels), -1).astype(np.float64)

    @property
    def embedded(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The embedding, and whose each row is."""
        return self.embedding, self.whose


@dataclass(frozen=True)
class RealSet:
    """Different pictures, and whose they are."""

    pixels: NDArray[np.uint8]  # (N, size, size), squeezed to the GAN's size
    path: list[str]  # (N,)
    patient: NDArray[np.int64]  # (N,) a number a patient
    n_copies: int = 0  # exact copies that were left out

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.path)

    @property
    def n_patients(self) -> int:
        """Different patients."""
        return int(np.unique(self.patient).size)


def real_sets(
    cache: DecodedCache, learnt: NDArray[np.int64], held_out: NDArray[np.int64]
) -> tuple[RealSet, RealSet]:
    """Return the radiographs that the GAN learnt from, and others of patients that it never saw.

    One of each picture stays: an exact copy has distance 0 to its twin, which says nothing of how
    near two patients come. Two patients who share a picture count as one patient.

    Args:
        cache: Decoded at the GAN's size.
        learnt: (N,) row numbers.
        held_out: (M,) row numbers; those of patients among the learnt ones, or that show the same
            picture, are left out.
    """
    rows = np.concatenate([learnt, held_out])
    table = cache.manifest.table[rows.tolist()]
    patients: list[str] = table["patient_id"].to_list()
    pictures = [cache.pixels[row].tobytes() for row in rows]
    patient = _patients(patients, pictures)
    seen: set[bytes] = set()
    is_first = np.zeros(len(rows), dtype=np.bool_)
    for position, picture in enumerate(pictures):
        is_first[position] = picture not in seen
        seen.add(picture)
    is_learnt = np.arange(len(rows)) < len(learnt)
    is_new = is_first & ~is_learnt & ~np.isin(patient, patient[is_learnt])

    def select(chosen: NDArray[np.bool_], n_copies: int) -> RealSet:
        return RealSet(
            pixels=cache.pixels[rows[chosen]],
            path=table["path"].filter(chosen.tolist()).to_list(),
            patient=patient[chosen],
            n_copies=n_copies,
        )

    n_copies = int(np.count_nonzero(is_learnt & ~is_first))
    return select(is_learnt & is_first, n_copies), select(is_new, 0)


def embed(
    bundle: Bundle, pixels: NDArray[np.uint8], advance: Callable[[int], None]
) -> NDArray[np.float64]:
    """Return (N, D) embeddings of (N, size, size) pictures, as the bundle resizes and sees them.

    Raises: BundleError: the graph fails.
    """
    parts = []
    for start in range(0, len(pixels), _BATCH):
        part = np.ascontiguousarray(pixels[start : start + _BATCH, None])
        parts.append(bundle.run(part).embedding.astype(np.float64))
        advance(len(part))
    return np.concatenate(parts)


def blur(pixels: NDArray[np.uint8], sigma_px: float) -> NDArray[np.uint8]:
    """Return (N, size, size) pictures, blurred by a Gaussian of that standard deviation."""
    soft = ImageFilter.GaussianBlur(sigma_px)
    return np.stack([np.asarray(Image.fromarray(each).filter(soft)) for each in pixels])


def detail(pixels: NDArray[np.uint8]) -> float:
    """Return how much of (N, size, size) pictures lies between one and two pixels, in gray levels.

    The root mean square of the difference of two Gaussians, of one pixel's standard deviation and
    of two: finer than that a generator's grain would count as detail.
    """
    values = pixels.astype(np.float32)
    fine, coarse = (gaussian_filter(values, (0, sigma, sigma)) for sigma in (1.0, 2.0))
    return float(np.sqrt(np.mean(np.square(fine - coarse, dtype=np.float64))))


def matching_blur(real: NDArray[np.uint8], samples: NDArray[np.uint8]) -> float | None:
    """Return the blur that leaves radiographs as much `detail` as samples have, in pixels.

    Args:
        real: (N, size, size).
        samples: (M, size, size).

    Returns: A Gaussian's standard deviation, to a hundredth, at most 4; None where samples have as
        much detail as sharp radiographs or more.
    """
    wanted = detail(samples)
    if detail(real) <= wanted:
        return None
    if detail(blur(real, _MOST_BLUR_PX)) >= wanted:
        return _MOST_BLUR_PX
    found = brentq(lambda sigma: detail(blur(real, sigma)) - wanted, 0.0, _MOST_BLUR_PX, xtol=0.01)
    return round(float(found), 2)


def _patients(patients: list[str], pictures: list[bytes]) -> NDArray[np.int64]:
    """Return (N,) a number a patient: patients joined wherever they share a picture."""
    parent = {patient: patient for patient in patients}

    def find(patient: str) -> str:
        while parent[patient] != patient:
            patient = parent[patient]
        return patient

    owner: dict[bytes, str] = {}
    for patient, picture in zip(patients, pictures, strict=True):
        low, high = sorted((find(owner.setdefault(picture, patient)), find(patient)))
        parent[high] = low
    roots = np.array([find(patient) for patient in patients])
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)
