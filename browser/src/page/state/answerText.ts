/** Answers as text: the same columns and keys as `pneumoscope predict` prints. */

import { type Failure, type Prediction, toJson } from "../../core";
import type { ShownItem } from "./point";

const CSV_COLUMNS = [
  "path",
  "sha256",
  "probability",
  "logit",
  "label",
  "operating_point",
  "threshold",
  "regions",
  "warnings",
  "bundle_name",
  "bundle_version",
  "bundle_sha256",
  "error_type",
  "error_message",
];

/** Return the CSV of what has been answered or has failed; the rest is left out. */
export function toCsv(shown: readonly ShownItem[]): string {
  const rows = shown.flatMap(({ item, prediction }) => {
    if (prediction) return [cellsOf(prediction)];
    return item.failure ? [cellsOfFailure(item.failure)] : [];
  });
  return [CSV_COLUMNS, ...rows].map((row) => `${row.map(toCell).join(",")}\n`).join("");
}

/** Return the JSON array of the same, an object a line. */
export function toJsonArray(shown: readonly ShownItem[]): string {
  const objects = shown.flatMap(({ item, prediction }) => {
    const value = prediction ? toJson(prediction) : item.failure;
    return value ? [JSON.stringify(value)] : [];
  });
  return objects.length === 0 ? "[]\n" : `[\n${objects.join(",\n")}\n]\n`;
}

function cellsOf(prediction: Prediction): (string | number)[] {
  const value = toJson(prediction);
  const { operating_point: point, bundle } = value;
  return [
    value.path,
    value.sha256,
    value.probability,
    value.logit,
    value.label,
    point.name,
    point.threshold,
    JSON.stringify(value.regions),
    value.warnings.join(" "),
    bundle.name,
    bundle.version,
    bundle.sha256,
    "",
    "",
  ];
}

function cellsOfFailure({ path, error }: Failure): string[] {
  const empty = CSV_COLUMNS.slice(3).map(() => "");
  return [path, ...empty, error.type, error.message];
}

function toCell(value: string | number): string {
  return typeof value === "number" ? String(value) : quote(asText(value));
}

// Where a cell begins: its own start, or after what a spreadsheet set to another separator would cut
// at. An apostrophe that is there already gets another, so that a program can take the first away.
const STARTS = /(?:^|(?<=[;\t\r\n]))(?=[-=+@\t\r\n'\uff0d\uff1d\uff0b\uff20])/g;

/** Put an apostrophe before whatever would begin a formula in a spreadsheet; see docs/bundle.md. */
export function asText(text: string): string {
  return text.replace(STARTS, "'");
}

function quote(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
