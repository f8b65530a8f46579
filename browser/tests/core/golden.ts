/** Reads the golden files that Python and the browser share. */

import { readFileSync } from "node:fs";
import type { BundleCard, Label, Region } from "../../src/core";

const folder = new URL("../../../tests/golden/", import.meta.url);

export interface GoldenPoint {
  operating_point: { name: string; threshold: number };
  label: Label;
  regions: Region[];
  /** Null where it is infinite. */
  threshold_logit: number | null;
}

export interface GoldenAnswers {
  card: BundleCard;
  answers: {
    title: string;
    cam: number[][];
    logit: number;
    probability: number;
    height: number;
    width: number;
    points: GoldenPoint[];
  }[];
  warnings: {
    age_years?: number;
    view_position?: string;
    modality?: string;
    sex?: string;
    is_colour?: boolean;
    height: number;
    width: number;
    atypicality: number;
    warnings: string[];
  }[];
  numbers: { value: number; digits: number; text: string }[];
}

export interface GoldenReading {
  rows: string[];
  is_colour?: boolean;
  tolerance?: number;
  modality?: string;
  view_position?: string;
  age_years?: number;
  sex?: string;
  scaled_to_px?: number;
}

export function readAnswers(): GoldenAnswers {
  return JSON.parse(readFileSync(new URL("answers.json", folder), "utf8"));
}

export function readReadings(): Record<string, GoldenReading> {
  return JSON.parse(readFileSync(new URL("reading/expected.json", folder), "utf8"));
}

/** Texts, and what stands for them in a CSV. */
export function readCells(): { text: string; cell: string }[] {
  return JSON.parse(readFileSync(new URL("csv-cells.json", folder), "utf8"));
}

/** Return a golden file's own bytes. */
export function goldenBytes(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`reading/${name}`, folder)));
}

/** Return the bytes of a file of the repository. */
export function repositoryBytes(path: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(new URL(`../../${path}`, folder)));
}
