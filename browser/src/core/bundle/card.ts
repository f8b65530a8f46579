/** Check a bundle's card; the same keys and defaults as detector/card.py. */

import * as v from "valibot";
import type { BundleCard } from "../types";

/** The newest schema that this page reads. */
export const BUNDLE_SCHEMA = 1;

const RESEARCH_USE =
  "Research use only. Not a medical device: no diagnosis or treatment may rest on its answer.";

const integer = v.pipe(v.number(), v.integer());
const pair = v.tuple([v.number(), v.number()]);
const interval = v.optional(v.nullable(pair), null);
const names = v.optional(v.nullable(v.array(v.string())), null);

const pointSchema = v.object({
  name: v.string(),
  threshold: v.pipe(v.number(), v.minValue(0), v.maxValue(1)),
  sensitivity: v.number(),
  specificity: v.number(),
  sensitivity_interval: interval,
  specificity_interval: interval,
  measured_on: v.string(),
});

const populationSchema = v.object({
  description: v.optional(v.string(), ""),
  modalities: names,
  view_positions: names,
  age_years: interval,
});

const resultSchema = v.object({
  dataset: v.string(),
  split: v.string(),
  n: integer,
  figures: v.record(v.string(), v.object({ value: v.number(), low: v.number(), high: v.number() })),
});

// Keys that a later version adds are read over.
const cardSchema = v.object({
  schema_version: v.optional(integer, BUNDLE_SCHEMA),
  name: v.string(),
  version: v.string(),
  title: v.string(),
  recipe: v.string(),
  seed: integer,
  precision: v.optional(v.picklist(["fp32", "int8"]), "fp32"),
  labels: v.optional(v.tuple([v.string(), v.string()]), ["normal", "pneumonia"]),
  size_px: integer,
  map_kind: v.optional(v.picklist(["CAM", "Grad-CAM"]), "CAM"),
  operating_points: v.pipe(v.array(pointSchema), v.minLength(1)),
  calibration: v.object({
    temperature: v.pipe(v.number(), v.gtValue(0)),
    bias: v.number(),
    fitted_on: v.string(),
    n: integer,
  }),
  atypicality: v.object({ threshold: v.number(), share_flagged_on_tuning: v.number() }),
  training_data: v.object({
    name: v.string(),
    fingerprint: v.string(),
    n_training: integer,
    n_tuning: integer,
    n_tuning_pneumonia: v.optional(v.nullable(integer), null),
    origins: v.record(v.string(), integer),
  }),
  population: v.optional(populationSchema, {}),
  results: v.optional(v.array(resultSchema), []),
  intended_use: v.optional(v.string(), RESEARCH_USE),
  limits: v.optional(v.array(v.string()), []),
  licence: v.optional(v.string(), "Apache-2.0"),
  attribution: v.optional(v.string(), ""),
});

/**
 * Return the card with its defaults filled in.
 *
 * @throws TypeError the first fault, behind its path in the card.
 */
export function parseCard(value: unknown): BundleCard {
  const parsed = v.safeParse(cardSchema, value);
  if (parsed.success) return parsed.output;
  const issue = parsed.issues[0];
  throw new TypeError(`${v.getDotPath(issue) ?? "the card"}: ${issue.message}`);
}
