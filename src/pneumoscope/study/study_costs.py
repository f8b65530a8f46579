"""What a system costs to deploy: the size of its bundle, and how long a picture takes."""

import hashlib
import json
import logging
import statistics
import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

import pneumoscope
from pneumoscope.core.errors import PneumoscopeError, RadiographError, UsageError
from pneumoscope.core.files import write_json
from pneumoscope.data.dataset import Dataset
from pneumoscope.detector.pictures import find_pictures
from pneumoscope.detector.predict import load
from pneumoscope.imaging.read import read_radiograph
from pneumoscope.report.study_results import Costs
from pneumoscope.study.study_runs import StudyRun
from pneumoscope.study.test_reads import file_sha256
from pneumoscope.training.export import export_bundle
from pneumoscope.training.machine import describe_machine
from pneumoscope.training.run_folder import BUNDLE_FILE, open_run

_log = logging.getLogger(__name__)

BUNDLES_FOLDER = "bundles"
COSTS_FILE = "costs.json"
N_REPEATS = 3
_N_WARM_UP = 3
_EXAMPLES = Path(pneumoscope.__file__).parents[2] / "examples" / "radiographs"


class Costing:
    """Exports what has no bundle yet, and times every bundle once on the same pictures.

    Timings are kept in ``costs.json`` and made again only where bundle, pictures or machine differ.

    Args:
        out: The study's folder.
        dataset: What the runs were trained on.
        pictures: Folder of pictures to time on; by default the project's 16 example radiographs.
            An installed package lacks them: bundles are then sized, not timed.
        only: Names of the systems to work on; None for all.
    """

    def __init__(
        self,
        out: Path,
        dataset: Dataset,
        *,
        pictures: Path | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self.out = out
        self.dataset = dataset
        self.folder = pictures or (_EXAMPLES if _EXAMPLES.is_dir() else None)
        self.only = only

    def measure(self, runs: Sequence[StudyRun]) -> tuple[Costs | None, str | None]:
        """Return a system's costs, by its first run that can be exported; or why there are none."""
        measured = [run for run in runs if run.state == "measured"]
        if not measured:
            return None, "no run is measured yet"
        known = costs_so_far(runs, self.out)
        if self.only and runs[0].system.name not in self.only:
            return known, None if known else "not worked on"
        measured = [run for run in measured if _has_weights(run)]
        if not measured:
            return known, None if known else "its weights are not here, only its results"
        costs, reason = None, ""
        for run in measured:  # where one seed's bundle can't be written, another's often can
            try:
                costs = self._measure(run, known)
                break
            except PneumoscopeError as error:
                reason = str(error)
            except Exception as error:
                # A bug in one system's export must not cost the table of all.
                _log.warning("%s: its costs can't be measured", run.name, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
        if costs is None:
            return known, None if known else reason
        if costs != known:
            content = {name: each.model_dump() for name, each in known_costs(self.out).items()}
            content[runs[0].system.name] = costs.model_dump()
            write_json(self.out / COSTS_FILE, content)
        return costs, None

    def _measure(self, run: StudyRun, known: Costs | None) -> Costs:
        # Before the export, which takes long and would be for nothing if they can't be read.
        pictures = [] if self.folder is None else _pictures_in(self.folder)
        contents = "".join(file_sha256(path) for path in pictures)
        pictures_sha256 = hashlib.sha256(contents.encode()).hexdigest() if pictures else ""
        bundle = self._bundle(run)
        sha256, machine = file_sha256(bundle), machine_name()
        is_known = known and (known.bundle_sha256, known.machine) == (sha256, machine)
        # Without pictures nothing can be timed anew, so what was timed before stands.
        if known and is_known and (not pictures or known.pictures_sha256 == pictures_sha256):
            return known
        times = time_bundle(bundle, pictures) if pictures else np.full((1, N_REPEATS), np.nan)
        return Costs(
            bundle=str(bundle),
            bundle_sha256=sha256,
            n_bytes=bundle.stat().st_size,
            latency_ms=statistics.median(times.ravel().tolist()),
            fastest_ms=statistics.median(times.min(axis=1).tolist()),
            slowest_ms=float(np.quantile(times, 0.95)),
            n_pictures=len(pictures),
            n_repeats=N_REPEATS if pictures else 0,
            pictures="" if self.folder is None else self.folder.name,
            pictures_sha256=pictures_sha256,
            n_threads=1,
            machine=machine,
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
            package_version=pneumoscope.__version__,
        )

    def _bundle(self, run: StudyRun) -> Path:
        """Return the run's bundle, exported to the study's own folder where it has none."""
        own = run.folder / BUNDLE_FILE
        if own.is_file():
            return own
        opened = open_run(run.folder)
        weights = file_sha256(opened.checkpoint_path)[:8]  # a run trained anew has another bundle
        path = self.out / BUNDLES_FOLDER / f"{run.name}-{weights}.onnx"
        if not path.is_file():
            export_bundle(opened, self.dataset, path, show_progress=False)
        return path


def check_pictures(folder: Path) -> None:
    """Refuse a folder to time detectors on that has no picture, or one that can't be read.

    Raises: UsageError: it is no folder, has none, or has one that no detector can answer for.
    """
    for path in _pictures_in(folder):
        try:
            read_radiograph(path)
        except RadiographError as error:
            raise UsageError(f"{error} Detectors can't be timed on it.") from error


def _pictures_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: there is no such folder of pictures to time detectors on.")
    return [path for path in find_pictures([folder]) if isinstance(path, Path)]


def time_bundle(bundle: Path, pictures: Sequence[Path]) -> NDArray[np.float64]:
    """Return (pictures, repeats) milliseconds from a file to its answer, with one thread.

    Raises: BundleError, RadiographError: the bundle or a picture can't be used.
    """
    detector = load(bundle, n_threads=1)
    for path in pictures[:_N_WARM_UP]:
        detector.predict(path)
    times = np.empty((len(pictures), N_REPEATS))
    for repeat in range(N_REPEATS):  # repeats outermost: a busy moment hits all pictures alike
        for place, path in enumerate(pictures):
            started_s = time.perf_counter()
            detector.predict(path)
            times[place, repeat] = 1000 * (time.perf_counter() - started_s)
    return times


def costs_so_far(runs: Sequence[StudyRun], out: Path) -> Costs | None:
    """Return what is known of a system's costs without measuring anything.

    Args:
        runs: The system's; results that were kept without weights have ``costs.json`` beside them.
        out: The study's folder, which has the first say.
    """
    places = [out, *(run.folder.parent for run in runs if run.state == "measured")]
    for place in dict.fromkeys(places):
        costs = known_costs(place).get(runs[0].system.name)
        if costs is not None:
            return costs
    return None


def _has_weights(run: StudyRun) -> bool:
    if (run.folder / BUNDLE_FILE).is_file():
        return True
    return open_run(run.folder).checkpoint_path.is_file()


def known_costs(out: Path) -> dict[str, Costs]:
    """Return what ``costs.json`` holds; nothing where it is missing or damaged."""
    try:
        content = json.loads((out / COSTS_FILE).read_text(encoding="utf-8"))
        return {name: Costs.model_validate(each) for name, each in content.items()}
    except (OSError, ValueError, ValidationError, AttributeError):
        return {}


def machine_name() -> str:
    """Return the processor, cores, memory and accelerators of this machine in one line.

    A virtual machine's processor often says its maker alone: its instructions tell kinds apart.
    """
    machine = describe_machine()
    parts = [
        f"{machine['processor'] or 'unknown processor'} ({machine['instructions']})",
        f"{machine['cores']} cores",
        f"{machine['memory_gib']} GiB",
        *machine["accelerators"],
    ]
    return ", ".join(parts)
