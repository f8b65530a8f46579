/** Stored -> modality -> display values: steps 2 to 5 of docs/reading.md. */

import type { DataSet, Element } from "dicom-parser";
import { MODALITY_DEPTHS, readLookup, throughLookup, VOI_DEPTHS } from "./lookup";
import { refused, type Tags } from "./tags";

const RESCALE_INTERCEPT = "x00281052";
const RESCALE_SLOPE = "x00281053";
const MODALITY_LUT = "x00283000";
const VOI_LUT = "x00283010";
const WINDOW_CENTER = "x00281050";
const WINDOW_WIDTH = "x00281051";
const VOI_FUNCTION = "x00281056";
const FAR = 1e9; // beyond any window

type Window = (value: number) => number;

/**
 * Return display values: one look-up for each stored value, then one for each pixel. Padding takes
 * no part in it and is black.
 *
 * @throws ReadError a rescale, window or table has no meaning.
 */
export function toDisplayValues(
  stored: Int32Array,
  file: DataSet,
  tags: Tags,
  title: string,
): Uint8Array<ArrayBuffer> {
  const [from, to] = tags.padding ?? [1, 0];
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  for (const value of stored) {
    if (value >= from && value <= to) continue;
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  const shown = new Uint8Array(stored.length);
  if (lowest > highest) return shown; // nothing but padding
  let display: Uint8Array;
  try {
    display = makeTable(lowest, highest, file, tags);
  } catch {
    throw refused(
      title,
      "has a rescale, WindowWidth, WindowCenter or LUT that has no meaning",
      "Export it again from where it came",
    );
  }
  for (let index = 0; index < stored.length; index++) {
    const value = stored[index];
    if (value < from || value > to) shown[index] = display[value - lowest];
  }
  return shown;
}

function makeTable(lowest: number, highest: number, file: DataSet, tags: Tags): Uint8Array {
  const modality = toModalityValues(lowest, highest, file, tags);
  const { values, black, white } = throughVoi(modality, file, tags);
  const range = white - black || 1;
  return Uint8Array.from(values, (value) => {
    const share = (value - black) / range;
    if (!Number.isFinite(share)) throw new RangeError("not finite");
    const shade = roundHalfEven(255 * Math.min(Math.max(share, 0), 1));
    return tags.isInverted ? 255 - shade : shade;
  });
}

function toModalityValues(
  lowest: number,
  highest: number,
  file: DataSet,
  tags: Tags,
): Float64Array {
  const values = Float64Array.from({ length: highest - lowest + 1 }, (_, index) => lowest + index);
  const item = firstItem(file, MODALITY_LUT);
  if (item) return throughLookup(values, readLookup(item, tags, MODALITY_DEPTHS));
  const line = rescale(file);
  return line ? values.map((value) => value * line[0] + line[1]) : values;
}

function throughVoi(
  values: Float64Array,
  file: DataSet,
  tags: Tags,
): { values: Float64Array; black: number; white: number } {
  const item = firstItem(file, VOI_LUT);
  if (item) {
    const lookup = readLookup(item, tags, VOI_DEPTHS);
    return { values: throughLookup(values, lookup), black: 0, white: 2 ** lookup.bits - 1 };
  }
  const [center, width] = [decimal(file, WINDOW_CENTER), decimal(file, WINDOW_WIDTH)];
  if (center === null || width === null) {
    const black = values.reduce((least, value) => Math.min(least, value));
    const white = values.reduce((most, value) => Math.max(most, value));
    return { values, black, white };
  }
  const window = makeWindow(center, width, file, tags);
  // The ends of the window's scale, as values far below and far above it show them. Not those of
  // the table: an image that uses half of its window must not be stretched.
  return { values: values.map(window), black: window(-FAR), white: window(FAR) };
}

/** Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3; the order of operations is pydicom's. */
function makeWindow(center: number, width: number, file: DataSet, tags: Tags): Window {
  const [least, most] = outputRange(file, tags);
  const range = most - least;
  const name = file.string(VOI_FUNCTION)?.trim().toUpperCase() || "LINEAR";
  if (name === "SIGMOID" && width > 0) {
    return (value) => range / (1 + Math.exp((-4 * (value - center)) / width)) + least;
  }
  if (name === "LINEAR" && width >= 1) return makeLinear(center - 0.5, width - 1, least, most);
  if (name === "LINEAR_EXACT" && width > 0) return makeLinear(center, width, least, most);
  throw new RangeError("a window without a meaning");
}

function makeLinear(center: number, width: number, least: number, most: number): Window {
  return (value) => {
    if (value <= center - width / 2) return least;
    if (value > center + width / 2) return most;
    return ((value - center) / width + 0.5) * (most - least) + least;
  };
}

function outputRange(file: DataSet, tags: Tags): [number, number] {
  const item = firstItem(file, MODALITY_LUT);
  let [least, most] = tags.isSigned
    ? [-(2 ** (tags.bitsStored - 1)), 2 ** (tags.bitsStored - 1) - 1]
    : [0, 2 ** tags.bitsStored - 1];
  if (item) [least, most] = [0, 2 ** readLookup(item, tags, MODALITY_DEPTHS).bits - 1];
  const line = rescale(file);
  if (line) [least, most] = [least * line[0] + line[1], most * line[0] + line[1]];
  return [least, most];
}

function firstItem(file: DataSet, tag: string): DataSet | null {
  const element: Element | undefined = file.elements[tag];
  if (!element?.items?.length) return null;
  const { dataSet } = element.items[0];
  if (!dataSet) throw new RangeError("an item that cannot be read");
  return dataSet;
}

/** Return slope and intercept; null where one of them is absent or empty. */
function rescale(file: DataSet): [number, number] | null {
  const [slope, intercept] = [decimal(file, RESCALE_SLOPE), decimal(file, RESCALE_INTERCEPT)];
  if (slope === null || intercept === null) return null;
  const isMany = [RESCALE_SLOPE, RESCALE_INTERCEPT].some((tag) => file.string(tag)?.includes("\\"));
  if (isMany) throw new RangeError("several numbers in the place of one");
  return [slope, intercept];
}

/** Return the first number of a Decimal String; null where it is absent or empty. */
function decimal(file: DataSet, tag: string): number | null {
  const first = file.string(tag)?.split("\\")[0].trim();
  if (!first) return null;
  const value = Number(first);
  if (!Number.isFinite(value) || !/\d/.test(first)) throw new RangeError("no number");
  return value;
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
