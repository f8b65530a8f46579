/** Whole pictures of the radiographs looked at last; older ones are read again when wanted. */

import { computed, effect, signal } from "@preact/signals";
import { type Radiograph, readRadiograph } from "../../core";
import { tell } from "./announce";
import { type Item, items, selected } from "./items";
import { current, messageOf, using } from "./ways";

const MAX_BYTES = 1 << 28;

/** The picture in the viewer, and whose it is. */
export const inView = signal<{ id: number; radiograph: Radiograph } | null>(null);

/** That picture, if it is the selected item's own: another's facts must not stand beside it. */
export const selectedRadiograph = computed(() =>
  inView.value?.id === selected.value?.id ? (inView.value?.radiograph ?? null) : null,
);

const kept = new Map<number, Radiograph>(); // the one used last comes last

/** Keep a whole picture for as long as there is room. */
export function keepRadiograph(id: number, radiograph: Radiograph): void {
  kept.delete(id);
  kept.set(id, radiograph);
  let bytes = [...kept.values()].reduce((sum, each) => sum + each.pixels.length, 0);
  for (const [oldest, { pixels }] of kept) {
    if (bytes <= MAX_BYTES || oldest === id) break;
    kept.delete(oldest);
    bytes -= pixels.length;
  }
}

/** Keep `inView` at the selected radiograph. */
export function followSelection(): void {
  effect(() => {
    const item = selected.value;
    if (item === null || item.state === "failed") inView.value = null;
    else if (item.state === "answered" && inView.peek()?.id !== item.id) void show(item);
  });
  effect(() => {
    const there = new Set(items.value.map((item) => item.id));
    for (const id of kept.keys()) if (!there.has(id)) kept.delete(id);
  });
}

async function show(item: Item): Promise<void> {
  try {
    const radiograph = kept.get(item.id) ?? (await readAgain(item));
    keepRadiograph(item.id, radiograph);
    if (selected.value?.id === item.id) inView.value = { id: item.id, radiograph };
  } catch (error) {
    tell(messageOf(error), "problem");
  }
}

async function readAgain(item: Item): Promise<Radiograph> {
  const bytes = new Uint8Array(await item.file.arrayBuffer());
  try {
    return await readRadiograph(bytes, item.name);
  } catch (error) {
    // A server reads compressed DICOM for pages that can't.
    const detector = current.value;
    if (detector?.where !== "server") throw error;
    return (await using(detector, () => detector.predict(bytes, item.name))).radiograph;
  }
}
