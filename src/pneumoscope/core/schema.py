"""The base of every recipe part: immutable, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict, ValidationError


class RecipePart(BaseModel):
    """A part of a recipe. A misspelt key is refused, so that it cannot be silently ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def reasons_of(error: ValidationError) -> str:
    """Return a line for each wrong key: its path and what is wrong with it."""
    return "\n".join(
        f"  {'.'.join(map(str, detail['loc'])) or 'the file'}: {detail['msg']}"
        for detail in error.errors()
    )
