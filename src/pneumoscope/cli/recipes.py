"""`pneumoscope recipes`: list the shipped recipes, or explain one."""

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="The recipe to explain.")] = None,
) -> None:
    """List the recipes, or print one with every key explained."""
    from pneumoscope.training.recipe_file import explain_recipe, load_recipe, recipe_names

    if name is not None:
        typer.echo(explain_recipe(load_recipe(name)), nl=False)
        return
    for each in recipe_names():
        typer.echo(f"{each:20} {load_recipe(each).title}")
