/** The order in which the list shows the radiographs, and going through it. */

import { computed, signal } from "@preact/signals";
import { items, selectedId } from "./items";
import { type ShownItem, shownItems } from "./point";

export const COLUMNS = ["name", "probability", "label", "warnings"] as const;
export type Column = (typeof COLUMNS)[number];

/** null is the order in which the files came. */
export const order = signal<{ column: Column; isDescending: boolean } | null>(null);

/** What a column sorts by; null where there is no answer: such rows come last either way. */
const KEYS: Record<Column, (shown: ShownItem) => string | number | null> = {
  name: ({ item }) => item.name,
  probability: ({ prediction }) => prediction?.probability ?? null,
  label: ({ prediction }) => prediction?.label ?? null,
  warnings: ({ prediction }) => prediction?.warnings.length ?? null,
};

export const orderedItems = computed<readonly ShownItem[]>(() => {
  if (order.value === null) return shownItems.value;
  const { column, isDescending } = order.value;
  const keyOf = KEYS[column];
  return shownItems.value.toSorted((a, b) => {
    const [first, second] = [keyOf(a), keyOf(b)];
    if (first === null || second === null) return Number(first === null) - Number(second === null);
    const difference =
      typeof first === "string"
        ? first.localeCompare(String(second), "en", { numeric: true })
        : first - Number(second);
    return isDescending ? -difference : difference;
  });
});

/** Sort by a column; asked again, the other way round; a third time, as the files came. */
export function sortBy(column: Column): void {
  const before = order.value;
  if (before?.column !== column) order.value = { column, isDescending: false };
  else order.value = before.isDescending ? null : { column, isDescending: true };
}

/** Select the next (1) or the previous (-1) radiograph of the list. */
export function selectNeighbour(step: 1 | -1): void {
  const ids = orderedItems.value.map(({ item }) => item.id);
  const at = ids.indexOf(selectedId.value ?? -1) + step;
  if (at >= 0 && at < ids.length) selectedId.value = ids[at];
}

/** Take a radiograph off the list, and return the one below it, or above: selected if it was. */
export function removeItem(id: number): number | null {
  const ids = orderedItems.value.map(({ item }) => item.id);
  const at = ids.indexOf(id);
  const neighbour = ids[at + 1] ?? ids[at - 1] ?? null;
  if (selectedId.value === id) selectedId.value = neighbour;
  items.value = items.value.filter((item) => item.id !== id);
  return neighbour;
}
