/** Take rows off the list without losing the keyboard's place: the focus would go with the row. */

import { clearItems } from "../state/items";
import { removeItem } from "../state/order";

/** Of the heading that stands where the list was. */
export const ADD_HEADING = "add-heading";

/** Remove a row; the focus goes to the same control of its neighbour. */
export function removeRow(id: number, control: "name" | "remove"): void {
  const neighbour = removeItem(id);
  if (neighbour === null) focusHeading();
  else focusSoon(`.column-${control} [data-id="${neighbour}"]`);
}

/** Empty the list; the focus goes to what comes in its place. */
export function clearList(): void {
  clearItems();
  focusHeading();
}

function focusHeading(): void {
  focusSoon(`#${ADD_HEADING}`);
}

/** Move the focus after the page has been drawn again. */
export function focusSoon(selector: string): void {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(selector)?.focus());
}
