/** The radiographs that a person has brought, in the order they came. */

import { computed, signal } from "@preact/signals";
import type { Failure, Prediction } from "../../core";
import type { GrayPicture } from "../drawing/gray";

/** One file, and how far its answer is. */
export interface Item {
  readonly id: number;
  readonly name: string;
  readonly file: Blob;
  readonly state: "waiting" | "running" | "answered" | "failed";
  /** As the detector gave it; what is shown is this at the chosen operating point. */
  readonly prediction: Prediction | null;
  readonly failure: Failure | null;
  /** Of the answered radiograph, small enough to keep one for every item. */
  readonly small: GrayPicture | null;
}

export const items = signal<readonly Item[]>([]);
export const selectedId = signal<number | null>(null);

/** The radiograph that is looked at. */
export const selected = computed(
  () => items.value.find((item) => item.id === selectedId.value) ?? null,
);

/** How many of the files have been answered or have failed. */
export const nDone = computed(
  () => items.value.filter((item) => item.state === "answered" || item.state === "failed").length,
);

let nextId = 1;

/** Add files to the list; the first one is selected if nothing was. */
export function addFiles(files: readonly { name: string; file: Blob }[]): void {
  const added = files.map(
    ({ name, file }): Item => ({
      id: nextId++,
      name,
      file,
      state: "waiting",
      prediction: null,
      failure: null,
      small: null,
    }),
  );
  items.value = [...items.value, ...added];
  if (selected.value === null && added.length > 0) selectedId.value = added[0].id;
}

export function updateItem(id: number, change: Partial<Omit<Item, "id">>): void {
  items.value = items.value.map((item) => (item.id === id ? { ...item, ...change } : item));
}

export function clearItems(): void {
  items.value = [];
  selectedId.value = null;
}

/** Ask again: for every file, or only for those that failed. */
export function askAgain({ onlyFailed }: { onlyFailed: boolean }): void {
  items.value = items.value.map((item) =>
    item.state === "failed" || (!onlyFailed && item.state === "answered")
      ? { ...item, state: "waiting", failure: null }
      : item,
  );
}
