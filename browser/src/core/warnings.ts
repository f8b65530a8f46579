/** What a bundle was not trained for; the same sentences as detector/warnings_of_input.py. */

import { formatG } from "./numberText";
import type { BundleCard, Radiograph } from "./types";

const MIN_SIDE_PX = 128;

type Facts = Omit<Radiograph, "pixels">;

/** Return the warnings for one radiograph: age, view, modality, size, colour, atypical. */
export function warnOfInput(radiograph: Facts, card: BundleCard, atypicality: number): string[] {
  const { view_positions, modalities } = card.population;
  const found: [string, string | null][] = [
    ["age", warnOfAge(radiograph.ageYears, card)],
    ["view", warnOfOther("view", radiograph.viewPosition, view_positions)],
    ["modality", warnOfOther("modality", radiograph.modality, modalities)],
    ["size", warnOfSize(radiograph, card)],
    ["colour", radiograph.isColour ? "the picture is coloured, and a radiograph is gray" : null],
    ["atypical", warnOfAtypical(card.atypicality.threshold, atypicality)],
  ];
  return found.flatMap(([code, words]) => (words === null ? [] : [`${code}: ${words}.`]));
}

function warnOfAge(age: number | null, card: BundleCard): string | null {
  if (card.population.age_years === null) return null;
  const [low, high] = card.population.age_years;
  const trained = `the bundle was trained on ages ${formatG(low)} to ${formatG(high)} years`;
  if (age === null) return `the age is unknown; ${trained}`;
  // Completed years: a child of five stays five until the day before the sixth birthday.
  if (low <= age && age < high + 1) return null;
  return `the age is ${formatG(age, 3)} years; ${trained}`;
}

function warnOfOther(what: string, value: string | null, trained: string[] | null): string | null {
  if (trained === null || value === null || trained.includes(value)) return null;
  return `the ${what} is ${value}; the bundle was trained on ${trained.join(" and ")} only`;
}

function warnOfSize({ height, width }: Facts, card: BundleCard): string | null {
  const least = Math.max(MIN_SIDE_PX, Math.floor(card.size_px / 2));
  if (Math.min(height, width) >= least) return null;
  return `the picture has ${width} x ${height} pixels; a side below ${least} shows too little`;
}

function warnOfAtypical(threshold: number, atypicality: number): string | null {
  if (atypicality <= threshold) return null;
  return (
    `unlike the training radiographs (${formatG(atypicality, 3)}, ` +
    `threshold ${formatG(threshold, 3)}); it may not be a chest radiograph`
  );
}
