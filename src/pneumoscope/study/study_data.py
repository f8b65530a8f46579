"""What a run must have been trained and measured on to belong to a study."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pneumoscope.data.cache import open_cache
from pneumoscope.data.dataset import Dataset
from pneumoscope.data.splits import check_roles
from pneumoscope.training.added_data import with_added
from pneumoscope.training.recipe import Recipe
from pneumoscope.training.run_data import RunData, prepare_data, roles_of
from pneumoscope.training.run_state import difference_in_data


@dataclass(frozen=True)
class Expected:
    """Fingerprints of one recipe's radiographs in the study's dataset."""

    training: str  # of the training and tuning radiographs together
    test: str
    added: str | None  # of the generated images; None where the recipe has none of them
    tuning: str | None = None  # of the tuning radiographs
    subtype: str | None = None  # of the subtypes, where the recipe's loss heeds them

    def is_training_of(self, facts: dict[str, Any]) -> bool:
        """Tell whether the ``data`` part of a run.json names the same radiographs."""
        own = {
            "fingerprint": self.training,
            "tuning_fingerprint": self.tuning,
            "subtype_fingerprint": self.subtype,
        }
        return difference_in_data(facts, own) is None

    def is_added_of(self, facts: dict[str, Any]) -> bool:
        """Tell whether it names the same generated images; without --added, any are taken."""
        return self.added is None or added_fingerprint(facts) == self.added


def added_fingerprint(facts: dict[str, Any]) -> str | None:
    """Return the fingerprint of what was added, from the ``data`` part of a run.json."""
    fingerprint = (facts.get("added") or {}).get("fingerprint")
    return None if fingerprint is None else str(fingerprint)


class StudyData:
    """The study's dataset, and the folder of generated images.

    Args:
        dataset: Trains, tunes and tests every system.
        added: Folder that ``gan sample`` wrote, for the recipes that train with such images.
        show_progress: Draw progress bars on stderr while decoding.
    """

    def __init__(
        self, dataset: Dataset, *, added: Path | None = None, show_progress: bool = True
    ) -> None:
        self.dataset = dataset
        self.added = added
        self.show_progress = show_progress
        self._known: dict[str, tuple[RunData, str]] = {}
        self._known_added: dict[str, str] = {}

    def added_for(self, recipe: Recipe) -> Path | None:
        """Return the folder of generated images, where the recipe wants one."""
        wants_folder = recipe.added is not None and recipe.added.kind == "generated"
        return self.added if wants_folder else None

    def expected(self, recipe: Recipe) -> Expected:
        """Return a recipe's fingerprints.

        Raises:
            SplitError: a split is empty, has one class, or mixes origins.
            DatasetError: no radiograph can be read.
            StorageError: the decoded cache can't be written.
        """
        heeds_subtypes = recipe.training.subtype_loss_weight > 0
        key = f"{recipe.split.model_dump_json()} {recipe.input.size_px} {heeds_subtypes}"
        if key not in self._known:
            roles = roles_of(recipe, self.dataset)
            check_roles(self.dataset.manifest, roles, needs=("training", "tuning", "test"))
            data = prepare_data(
                recipe,
                self.dataset,
                cache_folder=None,
                strict=False,
                show_progress=self.show_progress,
            )
            cache = open_cache(self.dataset, size_px=recipe.input.size_px)
            self._known[key] = data, cache.fingerprint(roles.test)
        data, test = self._known[key]
        return Expected(
            training=data.facts["fingerprint"],
            test=test,
            added=self._added(recipe, data),
            tuning=data.facts["tuning_fingerprint"],
            subtype=data.facts.get("subtype_fingerprint"),
        )

    def _added(self, recipe: Recipe, data: RunData) -> str | None:
        folder = self.added_for(recipe)
        if folder is None:
            return None
        key = f"{recipe.added} {recipe.input.size_px}"
        if key not in self._known_added:
            joined = with_added(
                data,
                recipe,
                self.dataset,
                folder=folder,
                seed=0,
                cache_folder=None,
                show_progress=self.show_progress,
            )
            self._known_added[key] = str(joined.facts["added"]["fingerprint"])
        return self._known_added[key]
