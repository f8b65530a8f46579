"""A hash of what a recipe trains, so that runs that differ in seed alone are known as such."""

import hashlib
import json

from pneumoscope.training.recipe import Recipe

# They describe, or decide something after training.
_NOT_TRAINED = {"name", "title", "source", "reported", "population", "calibration"}


def recipe_sha256(recipe: Recipe) -> str:
    """Return the SHA-256 of everything in a recipe that decides what is trained, and how.

    Keys left at their default don't count: a key that a later version adds then leaves the hash
    of every earlier recipe as it was.
    """
    content = recipe.model_dump(mode="json", exclude=_NOT_TRAINED, exclude_defaults=True)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
