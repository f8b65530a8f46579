/** Save the answers as files, in the order in which the radiographs came. */

import { toCsv, toJsonArray } from "./answerText";
import { shownItems } from "./point";

/** Save as CSV, a row a file. */
export function saveCsv(): void {
  save("pneumoscope.csv", "text/csv", toCsv(shownItems.value));
}

/** Save as one JSON array, an object a file. */
export function saveJson(): void {
  save("pneumoscope.json", "application/json", toJsonArray(shownItems.value));
}

function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Not at once: the download reads it after this returns.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
