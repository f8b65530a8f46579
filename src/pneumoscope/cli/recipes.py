"""`pneumoscope recipes`: list the shipped recipes, or explain one."""

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="The recipe to explain.")] = None,
) -> None:
    """List the recipes, or print one with every key explained."""
    from pneumoscope.training.gan_recipe_file import gan_recipe_names, load_gan_recipe
    from pneumoscope.training.recipe_file import explain_recipe, load_recipe, recipe_names

    gan_names = gan_recipe_names()
    if name is not None:
        recipe = load_gan_recipe(name) if name in gan_names else load_recipe(name)
        typer.echo(explain_recipe(recipe), nl=False)
        return
    titles = {each: load_recipe(each).title for each in recipe_names()}
    gan_titles = {each: load_gan_recipe(each).title for each in gan_names}
    width = max(map(len, [*titles, *gan_titles]))
    for each, title in titles.items():
        typer.echo(f"{each:{width}} {title}")
    typer.echo("\nFor `pneumoscope gan train`:")
    for each, title in gan_titles.items():
        typer.echo(f"{each:{width}} {title}")
