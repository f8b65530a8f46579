/** The operating point, and every answer at it. Switching it asks the network for nothing. */

import { computed, signal } from "@preact/signals";
import { type BundleCard, decide, type Prediction } from "../../core";
import { type Item, items, selectedId } from "./items";
import { current } from "./ways";

/** The name of the chosen point; null is the first on the card. */
export const chosenPoint = signal<string | null>(null);

/** The card of each bundle that has answered, by its hash. */
const cards = new Map<string, BundleCard>();

export function keepCard(sha256: string, card: BundleCard): void {
  cards.set(sha256, card);
}

/** Return the card of the bundle that gave an answer. */
export function cardOf(prediction: Prediction): BundleCard | null {
  return cards.get(prediction.bundle.sha256) ?? null;
}

/** An item, and its answer at the chosen operating point. */
export interface ShownItem {
  item: Item;
  prediction: Prediction | null;
}

export const shownItems = computed<readonly ShownItem[]>(() =>
  items.value.map((item) => ({ item, prediction: item.prediction && atPoint(item.prediction) })),
);

export const shownSelected = computed(
  () => shownItems.value.find(({ item }) => item.id === selectedId.value) ?? null,
);

/** The card to choose an operating point from: that of the answer in sight, or of the detector. */
export const cardInSight = computed(() => {
  const prediction = shownSelected.value?.prediction;
  return (prediction && cardOf(prediction)) ?? current.value?.card ?? null;
});

/** The operating point in force on that card. */
export const pointInSight = computed(() => {
  const points = cardInSight.value?.operating_points ?? [];
  return points.find((point) => point.name === chosenPoint.value) ?? points[0] ?? null;
});

/** Choose the next point on the card, after the last one the first. */
export function nextPoint(): void {
  const points = cardInSight.value?.operating_points ?? [];
  const at = points.findIndex((point) => point.name === pointInSight.value?.name);
  chosenPoint.value = points[(at + 1) % points.length]?.name ?? null;
}

// A change of one item must not work out the regions of all the others anew.
const decided = new WeakMap<Prediction, Map<string, Prediction>>();

function atPoint(prediction: Prediction): Prediction {
  const name = chosenPoint.value;
  const card = cardOf(prediction);
  // Another bundle's card may lack the point: its own first one then stands.
  const point = card?.operating_points.find((each) => each.name === name);
  if (!card || !point) return prediction;
  const known = decided.get(prediction) ?? new Map<string, Prediction>();
  decided.set(prediction, known);
  const answer = known.get(point.name) ?? decide(prediction, card, point.name);
  known.set(point.name, answer);
  return answer;
}
