"""What a recipe may say about images added to the training split; `added_images.py` makes them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pneumoscope.core.schema import RecipePart


class AddedRecipe(RecipePart):
    """Images of one class that train beside the dataset's own. Tuning and test never have any."""

    kind: Literal["generated", "resampled", "repeated"] = Field(
        description="`generated`: a network's, from a folder that `gan sample` wrote (train "
        "--added DIR). `resampled`: the dataset's own training radiographs, squeezed to size_px "
        "and enlarged again. `repeated`: the same draw of them, unchanged."
    )
    target: Literal[0, 1] = Field(
        default=0, description="Whose class they are: 0 normal, 1 pneumonia."
    )
    count: int = Field(ge=1, le=1_000_000, description="How many.")
    size_px: Annotated[int, Field(ge=8, le=1024)] | None = Field(
        default=None,
        description="Side of the square that they come from before they are brought to the "
        "network's size; `repeated` has none.",
    )

    @model_validator(mode="after")
    def _check_size(self) -> "AddedRecipe":
        if (self.size_px is None) != (self.kind == "repeated"):
            raise ValueError(
                "size_px: `generated` and `resampled` need it, and `repeated` has no use for it"
            )
        return self
