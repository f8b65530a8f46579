"""Evaluate a DCGAN: how far its samples lie from real radiographs, and whether it copied them.

Everything is set beside the same among real radiographs: distances beside those between two halves
of the real ones, the nearest training radiograph beside that of a patient left out. Only
radiographs of the training split and, as newcomers, of the tuning split are read; never the test
split.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import pneumoscope
from pneumoscope.core.errors import DatasetError, RunError, SplitError, UsageError
from pneumoscope.core.types import CLASS_NAMES
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.progress import progress_bar
from pneumoscope.data.splits import refuse_generated, refuse_mixed_origins
from pneumoscope.detector.bundle import Bundle, open_bundle
from pneumoscope.detector.in_order import count_cores
from pneumoscope.report.synthetic_page import Pictures, write_synthetic
from pneumoscope.report.synthetic_results import (
    BLURRED,
    HELD_OUT,
    MATCHED,
    PLANTED,
    SAMPLES,
    BundleRecord,
    EqualSizes,
    GanRecord,
    RealRecord,
    SyntheticEvaluation,
)
from pneumoscope.study.synthetic_copies import (
    Candidates,
    Search,
    closest_pairs,
    search_copies,
    summarise_copies,
)
from pneumoscope.study.synthetic_data import (
    BLUR_PX,
    RealSet,
    Seen,
    blur,
    embed,
    matching_blur,
    real_sets,
)
from pneumoscope.study.synthetic_distances import (
    N_DRAWS,
    at_equal_sizes,
    between_whole_sets,
    half_size,
)
from pneumoscope.study.synthetic_method import method_lines
from pneumoscope.training.gan_data import GanData, prepare_gan_data
from pneumoscope.training.gan_run import GanRun, open_gan_run
from pneumoscope.training.run_data import roles_of

_log = logging.getLogger(__name__)

Generate = Callable[..., NDArray[np.uint8]]  # (run, *, count, seed) -> (N, size, size)

K = 5  # neighbours, as in Naeem et al. (2020)
LEAST = 20  # pictures in a set: below, a distance between distributions is noise
N_RESAMPLES = 1000
N_CONTROLS = 400  # radiographs that are blurred: enough for a share to within 5 points
_PHANTOM_NOTICE = (
    "Synthetic phantoms, not radiographs: these figures say nothing about a generator of "
    "radiographs."
)


@dataclass(frozen=True)
class _Sets:
    """Everything that is compared."""

    real: Seen  # different radiographs that the GAN learnt from
    samples: Seen
    held_out: Seen | None  # of patients that it never saw
    blurred: Seen  # some of ``real``, blurred
    matched: Seen | None  # the same, blurred until they have as little detail as the samples
    matched_blur_px: float | None


def evaluate_gan(
    run: Path,
    dataset: Dataset,
    *,
    count: int | None = None,
    seed: int = 0,
    bundle: Bundle | None = None,
    generate: Generate | None = None,
    cache_folder: Path | None = None,
    n_resamples: int = N_RESAMPLES,
    show_progress: bool = True,
) -> SyntheticEvaluation:
    """Measure a DCGAN's samples against the radiographs that it learnt from.

    Leaves ``synthetic.json``, ``synthetic.html`` and the figure of the closest pairs in the run
    folder.

    Args:
        run: The folder that `gan train` left, finished.
        dataset: The one that it learnt from.
        count: How many samples; by default as many as it learnt from, 20 at least.
        seed: Of the samples and of the draws.
        bundle: Whose embedding the distances are in; by default the shipped one.
        generate: Makes the samples; by default `pneumoscope.training.gan_sample.generate`.
        cache_folder: Where decoded caches lie; by default the platform's place.
        n_resamples: Of every bootstrap.
        show_progress: Draw a bar on stderr, if that is a terminal.

    Raises:
        RunError: the folder is no finished DCGAN run, or the dataset is not what it learnt from.
        UsageError: ``count`` is below 20.
        DatasetError: too few different radiographs or patients to halve.
        SplitError: the tuning split's are generated, or of other origins than those learnt from.
        BundleError: the bundle is missing, damaged, or fails.
        StorageError: a file can't be written.
    """
    gan = open_gan_run(run)
    if count is not None and count < LEAST:
        raise UsageError(
            f"--count {count}: distances between so few samples mean nothing. Ask for {LEAST} or "
            "more, best for as many as the DCGAN learnt from (leave --count away)."
        )
    data = prepare_gan_data(
        gan.recipe, dataset, cache_folder=cache_folder, show_progress=show_progress
    )
    _check_same_data(gan, data, dataset)
    learnt, newcomers = real_sets(data.cache, data.rows, _held_out_rows(gan, dataset, data))
    _check_enough(learnt, dataset)
    bundle = bundle or open_bundle(n_threads=count_cores())
    make = generate or _default_generate()
    pixels = make(run, count=count or max(len(data.rows), LEAST), seed=seed)
    sets = _see(learnt, newcomers, pixels, bundle, seed=seed, show_progress=show_progress)
    searches = _searches(sets)
    halves, small = _equal_sizes(sets, seed=seed, show_progress=show_progress)
    evaluation = SyntheticEvaluation(
        notice=_PHANTOM_NOTICE if "phantom" in data.facts["origins"] else None,
        evaluated=datetime.now(UTC).isoformat(timespec="seconds"),
        package_version=pneumoscope.__version__,
        gan=_gan_record(gan),
        real=_real_record(data, learnt, newcomers),
        bundle=BundleRecord(**bundle.identity, n_dimensions=sets.real.embedding.shape[1]),
        n_samples=len(pixels),
        sample_seed=seed,
        k=K,
        halves=halves,
        small=small,
        whole=between_whole_sets(
            sets.real.embedded, sets.samples.embedding, k=K, n_resamples=n_resamples
        ),
        copies=[summarise_copies(search, n_resamples=n_resamples) for search in searches],
        pairs=[pair for search in searches for pair in closest_pairs(search, learnt.path)],
        matched_blur_px=sets.matched_blur_px,
        method=method_lines(
            bundle.card.name, size_px=gan.recipe.size_px, k=K, matched_blur_px=sets.matched_blur_px
        ),
    )
    write_synthetic(
        evaluation,
        run,
        pictures=Pictures(samples=pixels, real=dict(zip(learnt.path, learnt.pixels, strict=True))),
        distances={search.space: search.distances() for search in searches},
    )
    return evaluation


def _default_generate() -> Generate:
    from pneumoscope.training.gan_sample import generate

    return generate


def _check_same_data(gan: GanRun, data: GanData, dataset: Dataset) -> None:
    """Refuse another dataset: its radiographs could not be what the generator copied."""
    learnt = gan.facts.get("data", {}).get("fingerprint")
    if learnt != data.facts["fingerprint"]:
        raise RunError(
            f"{gan.path}: learnt from {gan.facts.get('data', {}).get('n_training')} radiographs "
            f"that are not the {len(data.rows)} of {dataset.name} as it is now, so nothing could "
            "be said of copies. Give the dataset of its training, with --data."
        )


def _held_out_rows(gan: GanRun, dataset: Dataset, data: GanData) -> NDArray[np.int64]:
    """Return readable rows of the same class in the tuning split: patients new to the generator.

    Raises: SplitError: some are generated, or they are not of one origin that it learnt from.
    """
    tuning = roles_of(gan.recipe, dataset).tuning
    target = dataset.manifest.table["target"].to_numpy()
    rows = tuning[target[tuning] == gan.recipe.target]
    what = f"the tuning split ({CLASS_NAMES[gan.recipe.target]})"
    refuse_generated(dataset.manifest, rows, what=what)
    refuse_mixed_origins(dataset.manifest, rows, what=what)
    origins = dataset.manifest.table["origin"]
    held_out, learnt = origins[rows].unique(), origins[data.rows].unique()
    if not held_out.is_in(learnt).all():
        raise SplitError(
            f"{dataset.name}: the images of {what} are {held_out[0]} and those that the DCGAN "
            f"learnt from are {' and '.join(learnt)}, so the distance between them would measure "
            "that. Put images of the same origin into the official val, or take its images out."
        )
    return np.asarray(rows[data.cache.is_readable[rows]])


def _check_enough(learnt: RealSet, dataset: Dataset) -> None:
    n_half = half_size(learnt.patient)
    if n_half < LEAST or learnt.n_patients < 3:
        raise DatasetError(
            f"{dataset.name}: the DCGAN learnt from {len(learnt)} different radiographs of "
            f"{learnt.n_patients} patients, which makes two halves of {max(n_half, 0)} each "
            f"without a patient in both; {LEAST} are needed. Train it on more radiographs."
        )


def _see(
    learnt: RealSet,
    newcomers: RealSet,
    pixels: NDArray[np.uint8],
    bundle: Bundle,
    *,
    seed: int,
    show_progress: bool,
) -> _Sets:
    """Return all pictures with their embeddings."""
    rng = np.random.default_rng(seed)
    controls = np.sort(rng.permutation(len(learnt))[:N_CONTROLS])
    real, whose = learnt.pixels[controls], learnt.patient[controls]
    blur_px = matching_blur(real, pixels)
    n_controls = len(controls) * (1 if blur_px is None else 2)
    n_all = len(learnt) + len(newcomers) + len(pixels) + n_controls
    with progress_bar("Embedding", n_all, show=show_progress) as advance:

        def see(pixels: NDArray[np.uint8], whose: NDArray[np.int64]) -> Seen:
            return Seen(pixels, embed(bundle, pixels, advance), whose)

        return _Sets(
            real=see(learnt.pixels, learnt.patient),
            samples=see(pixels, np.arange(len(pixels))),  # each drawn by itself
            held_out=see(newcomers.pixels, newcomers.patient) if len(newcomers) else None,
            blurred=see(blur(real, BLUR_PX), whose),
            matched=None if blur_px is None else see(blur(real, blur_px), whose),
            matched_blur_px=blur_px,
        )


def _searches(sets: _Sets) -> list[Search]:
    """Return the nearest training radiographs, in gray values and in embedding."""
    spaces: tuple[tuple[str, str, float, Callable[[Seen], NDArray[np.float64]]], ...] = (
        # The root of the mean over side * side pixels
        ("pixels", "gray levels, root mean square", 1 / sets.real.pixels.shape[1], _gray),
        ("embedding", "Euclidean", 1.0, _embedding),
    )
    searches = []
    for space, unit, scale, view in spaces:
        blurred = Candidates(view(sets.blurred), sets.blurred.whose)
        kinds = {
            SAMPLES: Candidates(view(sets.samples), sets.samples.whose),
            BLURRED: replace(blurred, is_left_out=True),
            PLANTED: blurred,
        }
        if sets.matched:
            kinds[MATCHED] = Candidates(view(sets.matched), sets.matched.whose, is_left_out=True)
        if sets.held_out:
            kinds[HELD_OUT] = Candidates(view(sets.held_out), sets.held_out.whose)
        searches.append(
            search_copies(
                view(sets.real), sets.real.whose, kinds, space=space, unit=unit, scale=scale
            )
        )
    return searches


def _gray(seen: Seen) -> NDArray[np.float64]:
    return seen.flat


def _embedding(seen: Seen) -> NDArray[np.float64]:
    return seen.embedding


def _equal_sizes(
    sets: _Sets, *, seed: int, show_progress: bool
) -> tuple[EqualSizes, EqualSizes | None]:
    """Return the figures at the size of half the real set, and at that of those held out."""
    real, samples, held_out = sets.real, sets.samples, sets.held_out
    n = min(half_size(real.whose), len(samples.pixels))
    others = {SAMPLES: samples.embedded}
    with progress_bar("Measuring", 2 * N_DRAWS, show=show_progress) as advance:
        halves = at_equal_sizes(real.embedded, others, n=n, k=K, seed=seed, advance=advance)
        if held_out is None or len(held_out.pixels) < LEAST:
            _log.warning("too few radiographs held out from the DCGAN to compare it with newcomers")
            return halves, None
        n = min(n, len(held_out.pixels))
        others[HELD_OUT] = held_out.embedded
        return halves, at_equal_sizes(real.embedded, others, n=n, k=K, seed=seed, advance=advance)


def _gan_record(gan: GanRun) -> GanRecord:
    return GanRecord(
        folder=str(gan.path),
        recipe=gan.recipe.name,
        title=gan.recipe.title,
        seed=gan.facts.get("seed"),
        epochs_run=gan.facts.get("epochs_run"),
        size_px=gan.recipe.size_px,
        target=gan.recipe.target,
    )


def _real_record(data: GanData, learnt: RealSet, newcomers: RealSet) -> RealRecord:
    return RealRecord(
        name=data.facts["name"],
        origin=" + ".join(data.facts["origins"]),
        fingerprint=data.facts["fingerprint"],
        n=len(learnt),
        n_patients=learnt.n_patients,
        n_copies=learnt.n_copies,
        n_held_out=len(newcomers),
        n_held_out_patients=newcomers.n_patients,
    )
