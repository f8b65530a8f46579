/** Saved files, where a browser test cannot easily go: names and words that need care. */

import { expect, test } from "vitest";
import { toCsv, toJsonArray } from "../../src/page/state/answerText";
import type { ShownItem } from "../../src/page/state/point";

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
