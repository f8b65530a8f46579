"""The base of every recipe part: immutable, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class RecipePart(BaseModel):
    """A part of a recipe. A misspelt key is refused, so that it cannot be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
