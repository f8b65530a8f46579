/** The top of the page: its name, what it is not, where pictures are answered, and settings. */

import { theme, toggleTheme } from "../state/appearance";
import { cardInSight } from "../state/point";
import { words } from "../words";
import { Button } from "./button";
import { openDialog } from "./dialog";
import { Mark } from "./icon";
import { WayChoice } from "./wayChoice";

export function Header() {
  const isDark = theme.value === "dark";
  const population = cardInSight.value?.population.description;
  return (
    <header class="header">
      <div class="header-row">
        <h1 class="brand">
          <Mark />
          <span>{words.name}</span>
          <span class="brand-line">{words.tagline}</span>
        </h1>
        <WayChoice />
        <div class="header-tools">
          <Button icon="info" label={words.about.button} onPress={() => openDialog("about")} />
          <Button
            icon="keys"
            label={words.keys.button}
            keyName="?"
            onPress={() => openDialog("keys")}
          />
          <Button
            icon={isDark ? "sun" : "moon"}
            label={isDark ? words.theme.toLight : words.theme.toDark}
            onPress={toggleTheme}
          />
        </div>
      </div>
      <p class="research">
        <strong>{words.research.short}</strong>{" "}
        {population ? words.research.population(population) : words.research.usual}
      </p>
    </header>
  );
}
