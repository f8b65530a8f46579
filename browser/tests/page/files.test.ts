/** Saved files, where a browser test cannot easily go: names and words that need care. */

import { expect, test } from "vitest";
import type { Prediction } from "../../src/core";
import { asText, toCsv, toJsonArray } from "../../src/page/state/answerText";
import type { ShownItem } from "../../src/page/state/point";
import { readCells } from "../core/golden";

const failed = (path: string, message: string): ShownItem => ({
  item: {
    id: 1,
    name: path,
    file: new Blob(),
    state: "failed",
    prediction: null,
    failure: { path, error: { type: "UnreadableImageError", message } },
    small: null,
  },
  prediction: null,
});

test("cells with commas, quotes and line ends are quoted as RFC 4180 has it", () => {
  const csv = toCsv([failed('a, "b".png', "two\nlines")]);
  const [, ...rest] = csv.split("\n");
  expect(rest.join("\n")).toBe(
    `"a, ""b"".png"${",".repeat(12)}UnreadableImageError,"two\nlines"\n`,
  );
});

test.each(readCells())("$text is no formula in a spreadsheet, as the shell has it", (each) => {
  expect(asText(each.text)).toBe(each.cell);
});

test("names and reasons are text, and negative numbers stay numbers", () => {
  const [, row] = toCsv([failed("=1+1.png", "-1 is no picture")]).split("\n");
  expect(row).toBe(`'=1+1.png${",".repeat(12)}UnreadableImageError,'-1 is no picture`);
  const answered = { ...failed("-2.png", ""), prediction: prediction("-2.png") };
  const [, numbers] = toCsv([answered]).split("\n");
  expect(numbers).toBe("'-2.png,s,0.25,-1.5,normal,usual,0.5,[],,'@tiny,1,b,,");
});

function prediction(path: string): Prediction {
  return {
    path,
    sha256: "s",
    probability: 0.25,
    logit: -1.5,
    label: "normal",
    operatingPoint: { name: "usual", threshold: 0.5 },
    regions: [],
    warnings: [],
    bundle: { name: "@tiny", version: "1", sha256: "b" },
    atypicality: 0,
    image: { height: 1, width: 1 },
    map: { height: 1, width: 1, values: new Float32Array(1), thresholdLogit: 0 },
    milliseconds: 1,
    where: "device",
  };
}

test("nothing answered is an empty array, and what waits is left out", () => {
  expect(toJsonArray([])).toBe("[]\n");
  const waiting = failed("a.png", "");
  const item = { ...waiting.item, state: "waiting" as const, failure: null };
  expect(JSON.parse(toJsonArray([{ item, prediction: null }]))).toEqual([]);
  expect(
    toCsv([{ item, prediction: null }])
      .trim()
      .split("\n"),
  ).toHaveLength(1);
});
