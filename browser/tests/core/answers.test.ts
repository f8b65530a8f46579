import { describe, expect, it } from "vitest";
import { formatG } from "../../src/core/numberText";
import { decide, findOperatingPoint, toJson } from "../../src/core/prediction";
import type { Prediction, Region } from "../../src/core/types";
import { warnOfInput } from "../../src/core/warnings";
import { readAnswers } from "./golden";

const golden = readAnswers();
type Case = (typeof golden.answers)[number];

function undecided({ cam, logit, probability, height, width }: Case): Prediction {
  return {
    path: "drawn",
    sha256: "00",
    probability,
    logit,
    label: "normal",
    operatingPoint: { name: "", threshold: Number.NaN },
    regions: [],
    warnings: ["size: small."],
    bundle: { name: "golden", version: "2", sha256: "00" },
    atypicality: 0,
    image: { height, width },
    map: {
      height: cam.length,
      width: cam[0].length,
      values: Float32Array.from(cam.flat()),
      thresholdLogit: Number.NaN,
    },
    milliseconds: 1,
    where: "device",
  };
}

const box = ({ x, y, width, height }: Region) => [x, y, width, height];

describe.each(golden.answers)("the map $title", (drawn) => {
  it.each(drawn.points)("answers at $operating_point.name as the detector does", (point) => {
    const decided = decide(undecided(drawn), golden.card, point.operating_point.name);
    expect(decided.label).toBe(point.label);
    expect(decided.operatingPoint).toEqual(point.operating_point);
    expect(decided.regions.map(box)).toEqual(point.regions.map(box));
    decided.regions.forEach(({ score }, index) => {
      expect(score).toBeCloseTo(point.regions[index].score, 12);
    });
    if (point.threshold_logit === null) {
      expect(Math.abs(decided.map.thresholdLogit)).toBe(Number.POSITIVE_INFINITY);
    } else {
      expect(decided.map.thresholdLogit).toBeCloseTo(point.threshold_logit, 12);
    }
  });
});

it("the golden maps have regions at some points, and several at one", () => {
  const counts = golden.answers.flatMap(({ points }) =>
    points.map(({ regions }) => regions.length),
  );
  expect(counts).toContain(0);
  expect(Math.max(...counts)).toBeGreaterThan(2);
});

it.each(golden.warnings)("warns of $age_years $view_position $modality as Python does", (fact) => {
  const radiograph = {
    width: fact.width,
    height: fact.height,
    isColour: fact.is_colour ?? false,
    modality: fact.modality ?? null,
    viewPosition: fact.view_position ?? null,
    sex: fact.sex ?? null,
    ageYears: fact.age_years ?? null,
  };
  expect(warnOfInput(radiograph, golden.card, fact.atypicality)).toEqual(fact.warnings);
});

it("warns of nothing that the card leaves open", () => {
  const population = { description: "", modalities: null, view_positions: null, age_years: null };
  const radiograph = {
    width: 999,
    height: 999,
    isColour: false,
    modality: "CT",
    viewPosition: "LL",
    sex: null,
    ageYears: null,
  };
  expect(warnOfInput(radiograph, { ...golden.card, population }, 0)).toEqual([]);
});

it.each(golden.numbers)("writes $value with $digits digits as $text", ({ value, digits, text }) => {
  expect(formatG(value, digits)).toBe(text);
});

it("takes the card's first operating point, and refuses one that it lacks", () => {
  expect(findOperatingPoint(golden.card).name).toBe("usual");
  expect(() => findOperatingPoint(golden.card, "best")).toThrow(
    "golden has no operating point 'best'. It has: usual, all, none, low.",
  );
});

it("prints the shell's keys in the shell's order", () => {
  const drawn = golden.answers.find(({ points }) => points[0].regions.length > 0);
  const json = toJson(decide(undecided(drawn as Case), golden.card));
  expect(Object.keys(json)).toEqual([
    ..."path sha256 probability logit label operating_point regions warnings bundle".split(" "),
  ]);
  expect(Object.keys(json.operating_point)).toEqual(["name", "threshold"]);
  expect(Object.keys(json.regions[0])).toEqual(["x", "y", "width", "height", "score"]);
  expect(Object.keys(json.bundle)).toEqual(["name", "version", "sha256"]);
});
