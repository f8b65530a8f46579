"""Which of a study's runs are there already, and in what state."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import filelock

from pneumoscope.core.errors import NoDetectorError, PneumoscopeError, RunError
from pneumoscope.data.predictions import read_predictions
from pneumoscope.report.results import METRICS_FILE, Evaluation, load_evaluation
from pneumoscope.study.records import samples_of
from pneumoscope.study.study_data import Expected, added_fingerprint
from pneumoscope.study.study_plan import MeasuredBy, Study, System
from pneumoscope.training.epoch_weights import stored_epochs
from pneumoscope.training.recipe_hash import recipe_sha256
from pneumoscope.training.run_folder import RunFolder, open_run

_log = logging.getLogger(__name__)

RUNS_FOLDER = "runs"
# measured: test was read. trained: finished, test not read. unfinished: begun. missing: not begun.
State = Literal["missing", "unfinished", "trained", "measured", "failed", "in use"]
_BEST_FIRST: tuple[State, ...] = ("measured", "trained", "in use", "unfinished")


@dataclass(frozen=True)
class StudyRun:
    """One run of a study: a system and a seed, and where it stands."""

    system: System
    seed: int
    folder: Path
    state: State
    is_taken_up: bool = False  # it lies elsewhere than in the study's own folder
    reason: str | None = None  # why it failed, can't go on now, or an earlier run is not taken up
    error: str | None = None  # the type of what it failed by, where one was raised
    has_failed_before: bool = False  # in an earlier call, and was not tried again in this one

    @property
    def name(self) -> str:
        """The system and seed, as the run's folder is called."""
        return run_name(self.system, self.seed)

    def failed(self, reason: str, *, error: str | None = None) -> "StudyRun":
        """Return the run with the reason why it failed, and the error's type if one was raised."""
        return replace(self, state="failed", reason=reason, error=error)


def run_name(system: System, seed: int) -> str:
    """Return what a run's folder is called."""
    return f"{system.name}-s{seed}"


def plan_runs(study: Study, out: Path) -> list[StudyRun]:
    """Return every run of a study, all systems' first seeds first, none looked for yet."""
    runs = []
    for place in range(max(len(system.seeds) for system in study.systems)):
        for system in study.systems:
            if place < len(system.seeds):
                seed = system.seeds[place]
                folder = out / RUNS_FOLDER / run_name(system, seed)
                runs.append(StudyRun(system, seed, folder, "missing"))
    return runs


def run_folders(places: Iterable[Path]) -> list[Path]:
    """Return the run folders among and directly below some folders, each once.

    Raises: RunError: a place is no folder, or has no run.
    """
    found: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise RunError(f"{place}: there is no such folder to take runs up from.")
        folders = _run_folders_in(place)
        if not folders:
            # Most likely a study's --out. To go on would train for hours what is there already.
            runs = place / RUNS_FOLDER
            advice = "Give a run's folder, or one that such folders lie in."
            if runs.is_dir() and _run_folders_in(runs):
                advice = f"Give {runs}, which has some."
            raise RunError(f"{place}: there is no run in it to take up. {advice}")
        found |= dict.fromkeys(folders)
    return list(found)


def _run_folders_in(place: Path) -> list[Path]:
    folders = [place, *sorted(place.iterdir())]
    return [folder.resolve() for folder in folders if (folder / "run.json").is_file()]


def find_run(run: StudyRun, expected: Expected, others: Sequence[RunFolder]) -> StudyRun:
    """Return the run with its state: its own folder's, or that of an earlier run of the same.

    An earlier run is the same where recipe, seed and radiographs agree, and where every epoch is
    stored if the study wants that.

    Args:
        run: As `plan_runs` returns it.
        expected: The radiographs that it is to be trained and measured on.
        others: Runs of earlier work.
    """
    found, with_other_images = [], []
    own = _open(run.folder)
    if own is not None:
        state, reason = state_of(own, expected, system=run.system)
        # A changed study or dataset must not overwrite, nor count, what lies there.
        if not _is_same(own, run, expected):
            state, reason = "failed", _DIFFERENT.format(folder=run.folder)
        elif not expected.is_added_of(own.facts["data"]):
            state, reason = "failed", f"{_other_images(own, expected)}. {_MOVE_AWAY}"
        # Nor can what is trained without its epochs' weights have them afterwards.
        elif state in ("unfinished", "trained", "measured") and not _has_epochs(own, run.system):
            state, reason = "failed", _WITHOUT_EPOCHS.format(folder=run.folder)
        found.append(replace(run, state=state, reason=reason))
    for other in others:
        if not (_is_same(other, run, expected) and _has_epochs(other, run.system)):
            continue
        if not expected.is_added_of(other.facts["data"]):
            reason = f"{_other_images(other, expected)}. {_NOT_TAKEN_UP}"
            with_other_images.append(replace(run, reason=reason))
        else:
            state, reason = state_of(other, expected, system=run.system)
            found.append(
                replace(run, folder=other.path, state=state, reason=reason, is_taken_up=True)
            )
    usable = [each for each in found if each.state in _BEST_FIRST]
    if usable:
        return min(usable, key=lambda each: _BEST_FIRST.index(each.state))
    # A failure of an earlier run elsewhere is not this one's, but for a good run that was measured
    # the other way: to train it again would be hours for nothing.
    told = [each for each in found if not each.is_taken_up or each.reason in _WORTH_TELLING]
    # To train anew for the sake of other images may be meant, but not without a word.
    return next(iter([*told, *with_other_images]), run)


_MOVE_AWAY = "Move it away, or give another --out."
_NOT_TAKEN_UP = "It is not taken up; to have it, give the folder that it was trained with."
_DIFFERENT = "{folder} holds a run of another recipe, seed or dataset. " + _MOVE_AWAY

_WITHOUT_EPOCHS = (
    "{folder} lacks weights of epochs that it has trained, and the study keeps every epoch's "
    "(`store_epochs: true`). Move it away, or give another --out, to have it trained anew; or take "
    "`store_epochs` out."
)

_OTHER_WAY: dict[MeasuredBy, str] = {
    "run": "it was measured through its bundle, whose probabilities are calibrated, and the study "
    "measures this system as trained: say `measured_by: bundle`, or take up another run",
    "bundle": "it was measured as trained, and the study measures this system through its bundle: "
    "say `measured_by: run`, or take up another run",
}

_OTHER_CALIBRATION = (
    "its recipe's `calibration` is another than the study's, and the study measures this system "
    "through its bundle, which is made by it: say the same in the study, or take up another run"
)
_WORTH_TELLING = (*_OTHER_WAY.values(), _OTHER_CALIBRATION)


def open_runs(folders: Iterable[Path]) -> list[RunFolder]:
    """Return the runs that can be opened; the others are told in the log."""
    runs = []
    for folder in folders:
        run = _open(folder)
        if run is not None:
            runs.append(run)
    return runs


def state_of(run: RunFolder, expected: Expected, *, system: System) -> tuple[State, str | None]:
    """Return where a run stands, and what is wrong where it failed.

    Args:
        run: A run of the study.
        expected: The radiographs that it is to be measured on.
        system: Its seeds are averaged, so all are to be measured the same way: a mean over both
            would mix calibrated figures with others.
    """
    if run.facts.get("state") != "finished":
        if is_in_use(run.path):
            return "in use", "another process is training it"
        return "unfinished", None
    if system.measured_by == "bundle" and run.recipe.calibration != system.recipe.calibration:
        return "failed", _OTHER_CALIBRATION
    if not (run.path / METRICS_FILE).is_file():
        if is_in_use(run.path):
            return "in use", "another process is measuring it"
        return "trained", None
    try:
        evaluation = check_measured(run.path, expected)
    except RunError as error:
        return "failed", str(error)
    by: MeasuredBy = "bundle" if evaluation.run.is_of_bundle else "run"
    if by != system.measured_by:
        return "failed", _OTHER_WAY[system.measured_by]
    return "measured", None


def check_measured(folder: Path, expected: Expected) -> Evaluation:
    """Return what a run achieved on the study's test split.

    Raises: RunError: its results are damaged, or on other radiographs.
    """
    evaluation = load_evaluation(folder / METRICS_FILE)
    data = evaluation.data
    if data.split != "test" or data.fingerprint != expected.test:
        raise RunError(
            f"{folder / METRICS_FILE}: holds results on the {data.split} split of {data.name}, "
            "and not on the test split of this study. Move them away, or take up other runs."
        )
    n = len(read_predictions(folder / "predictions-test.csv"))
    if n != data.n:
        raise RunError(
            f"{folder}: predictions-test.csv has {n:,} rows, but metrics.json was made from "
            f"{data.n:,}. Evaluate the run again."
        )
    return evaluation


def refuse_other_samples(runs: Sequence[StudyRun]) -> list[StudyRun]:
    """Return the runs; of a system's, those trained with other generated images fail.

    Without a folder of generated images to go by, runs are taken up whatever they were trained
    with; a mean over seeds is of the images that most of them have (of the first, if as many).
    """
    samples: dict[str, list[str]] = {}
    for run in runs:
        if run.state == "measured":
            samples.setdefault(run.system.name, []).append(_samples_of(run))
    usual = {name: max(found, key=found.count) for name, found in samples.items()}
    checked = []
    for run in runs:
        if run.state == "measured" and _samples_of(run) != usual[run.system.name]:
            run = run.failed(
                f"{run.folder}: was trained with other generated images (fingerprint "
                f"{_samples_of(run)[:12]}) than other seeds ({usual[run.system.name][:12]}). Say "
                "with --added which ones the study is of"
            )
        checked.append(run)
    return checked


def _samples_of(run: StudyRun) -> str:
    return samples_of(open_run(run.folder).facts)


def is_in_use(folder: Path) -> bool:
    """Tell whether a process is training or measuring in a run folder right now."""
    path = folder / ".lock"
    if not path.exists():
        return False
    lock = filelock.FileLock(path)
    try:
        with lock.acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False  # a folder that can't be written is not being trained in


def _open(folder: Path) -> RunFolder | None:
    if not (folder / "run.json").is_file():
        return None
    try:
        return open_run(folder, needs_finished=False)
    except NoDetectorError:
        return None  # a DCGAN's run may well lie among the others
    except PneumoscopeError as error:
        _log.warning("%s is not taken up: %s", folder, error)
        return None


def _is_same(other: RunFolder, run: StudyRun, expected: Expected) -> bool:
    """Tell whether a run is the wanted one, but for the generated images that it trained with."""
    return (
        other.facts.get("seed") == run.seed
        and recipe_sha256(other.recipe) == run.system.recipe_sha256
        and expected.is_training_of(other.facts.get("data", {}))
    )


def _other_images(other: RunFolder, expected: Expected) -> str:
    theirs, wanted = added_fingerprint(other.facts["data"]), expected.added
    return (
        f"{other.path} holds a run of this recipe, seed and dataset, but with other generated "
        f"images (fingerprint {str(theirs)[:12]}) than those of --added ({str(wanted)[:12]})"
    )


def _has_epochs(other: RunFolder, system: System) -> bool:
    if not system.store_epochs:
        return True
    try:
        n_epochs = len(other.history_path.read_text(encoding="utf-8").splitlines()) - 1
    except OSError:
        n_epochs = 0
    return set(stored_epochs(other.path)) >= set(range(1, n_epochs + 1))
