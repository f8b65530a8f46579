/** What is drawn: oracles are Pillow's own numbers, the package's source, and definitions. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { Prediction } from "../../src/core";
import { COLOURS } from "../../src/page/drawing/colourMap";
import { colourEvidence, localLogits, spanOf, ticksOf } from "../../src/page/drawing/evidence";
import { levelsOf, paintGray, reducePicture, WHOLE_WINDOW } from "../../src/page/drawing/gray";
import { resampleBicubic } from "../../src/page/drawing/resample";
import golden from "./bicubic.json";

const IMAGING = "../../../src/pneumoscope/imaging/";
const readPackage = (name: string) =>
  readFileSync(fileURLToPath(new URL(IMAGING + name, import.meta.url)), "utf8");

function answer(values: number[], logit: number, thresholdLogit: number): Prediction {
  return {
    path: "a.png",
    sha256: "",
    probability: 0.5,
    logit,
    label: "normal",
    operatingPoint: { name: "balanced", threshold: 0.5 },
    regions: [],
    warnings: [],
    bundle: { name: "", version: "", sha256: "" },
    atypicality: 0,
    image: { height: 8, width: 8 },
    map: { height: 1, width: values.length, values: Float32Array.from(values), thresholdLogit },
    milliseconds: 1,
    where: "device",
  };
}

test.each(golden.cases)("bicubic enlargement of $shape to $outShape is Pillow's", (each) => {
  const [height, width] = each.shape;
  const [outHeight, outWidth] = each.outShape;
  const out = resampleBicubic(
    Float32Array.from(each.values),
    { height, width },
    { height: outHeight, width: outWidth },
  );
  expect(out.length).toBe(each.out.length);
  each.out.forEach((value, at) => {
    expect(out[at]).toBeCloseTo(value, 4);
  });
});

test("the colours are the package's", () => {
  const hex =
    readPackage("colour_map.py")
      .match(/(?<=^ {4}")[0-9a-f]+(?="$)/gm)
      ?.join("") ?? "";
  expect(hex.length).toBe(256 * 6);
  expect(Buffer.from(COLOURS).toString("hex")).toBe(hex);
});

test("the mean of the local logits is the radiograph's logit", () => {
  const local = localLogits(answer([-3, 0, 1, 10], 2.5, 0));
  expect(local.reduce((sum, value) => sum + value, 0) / 4).toBeCloseTo(2.5, 5);
});

test("the legend spans four logits at least, and begins at the operating point", () => {
  expect(spanOf(answer([0, 1], 0, -0.5))).toEqual({ low: -0.5, high: 3.5 });
  const wide = spanOf(answer([-10, 10], 5, 1));
  expect(wide).toEqual({ low: 1, high: 15 });
  // An operating point of probability 0 has no logit: then the weakest evidence begins it.
  expect(spanOf(answer([-10, 10], 5, Number.NEGATIVE_INFINITY)).low).toBe(-5);
});

test("evidence below the operating point is not drawn, and opacity is full from half the span", () => {
  const rgba = colourEvidence(Float32Array.of(-3, 0, 1, 2, 4, 9), { low: 0, high: 4 });
  const alpha = [...rgba].filter((_, at) => at % 4 === 3);
  expect(alpha.slice(0, 2)).toEqual([0, 0]);
  expect(alpha[2]).toBeGreaterThan(120);
  expect(alpha[2]).toBeLessThan(136);
  expect(alpha.slice(3)).toEqual([255, 255, 255]);
  expect([...rgba.slice(20, 23)]).toEqual([...COLOURS.slice(-3)]);
});

test.each([
  [{ low: 0, high: 4 }, [0, 1, 2, 3, 4]],
  [{ low: -0.6, high: 69.5 }, [0, 20, 40, 60]],
  [{ low: 0.7, high: 4.7 }, [1, 2, 3, 4]],
])("ticks of %o", (span, ticks) => {
  expect(ticksOf(span)).toEqual(ticks);
});

test("the whole window shows each display value as it is, and inversion mirrors it", () => {
  const levels = levelsOf(WHOLE_WINDOW);
  const mirrored = levelsOf({ ...WHOLE_WINDOW, isInverted: true });
  for (let value = 0; value < 256; value++) {
    expect(levels[value]).toBe(value);
    expect(mirrored[value]).toBe(255 - value);
  }
  const narrow = levelsOf({ centre: 100, width: 50, isInverted: false });
  expect([narrow[75], narrow[125], narrow[0], narrow[255]]).toEqual([0, 255, 0, 255]);
  expect([...paintGray(Uint8Array.of(0, 7), levels)]).toEqual([0, 0, 0, 255, 7, 7, 7, 255]);
});

test("a reduced picture is the mean of its blocks, also at the edges", () => {
  const pixels = Uint8Array.of(0, 2, 10, 4, 6, 20, 100, 102, 200);
  const small = reducePicture({ pixels, height: 3, width: 3 }, 2);
  expect(small).toEqual({ pixels: Uint8Array.of(3, 15, 101, 200), height: 2, width: 2 });
  const same = { pixels, height: 3, width: 3 };
  expect(reducePicture(same, 3)).toBe(same);
});
