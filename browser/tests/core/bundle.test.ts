import { describe, expect, it } from "vitest";
import { parseCard } from "../../src/core/bundle/card";
import { checkHash, checkSignature, readBundleCard } from "../../src/core/bundle/checkBundle";
import { readGraphFile } from "../../src/core/bundle/graphFile";
import { sha256Hex } from "../../src/core/sha256";
import { readAnswers, repositoryBytes } from "./golden";

const shipped = repositoryBytes("src/pneumoscope/bundles/pneumoscope-1.onnx");
const beside = new TextDecoder().decode(
  repositoryBytes("src/pneumoscope/bundles/pneumoscope-1.onnx.sha256"),
);

// The wire format by hand: a tag is (field number << 3) | wire type, and a length follows.
const varint = (value: number): number[] =>
  value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)];
const field = (number: number, ...body: number[]) => [
  ...varint((number << 3) | 2),
  ...varint(body.length),
  ...body,
];
const text = (words: string) => [...new TextEncoder().encode(words)];
const entry = (key: string, value: string) =>
  field(14, ...field(1, ...text(key)), ...field(2, ...text(value)));
function tensorIn(...path: number[]): Uint8Array {
  let inner = field(13, 1); // external_data
  for (const number of path.reverse()) inner = field(number, ...inner);
  return Uint8Array.from(inner);
}

describe("the shipped bundle", () => {
  it("has a card, and the hash that lies beside it", async () => {
    const card = readBundleCard(shipped, "shipped");
    expect(card.name).toBe("pneumoscope-1");
    expect(card.operating_points.length).toBeGreaterThan(0);
    const sha256 = await sha256Hex(shipped);
    expect(() => checkHash(sha256, beside, "shipped")).not.toThrow();
    expect(() => checkHash(sha256.replace(/^./, "x"), beside, "shipped")).toThrow("was changed");
    expect(() => checkHash(sha256, "", "shipped")).toThrow("says nothing");
  });

  it.each([0.02, 0.3, 0.6, 0.99])("is refused where only %f of it is there", (share) => {
    const cut = shipped.subarray(0, share * shipped.length);
    expect(() => readBundleCard(cut, "cut")).toThrow(/cut short|not a Pneumoscope bundle/);
  });
});

describe("the walk through an ONNX file", () => {
  it("reads the metadata", () => {
    const bytes = Uint8Array.from([...entry("a", "1"), ...entry("b", "ü")]);
    expect([...readGraphFile(bytes).metadata]).toEqual([
      ["a", "1"],
      ["b", "ü"],
    ]);
  });

  it.each([
    ["an initializer", [7, 5]],
    ["a sparse initializer", [7, 15, 1]],
    ["an attribute", [7, 1, 5, 5]],
    ["a list attribute", [7, 1, 5, 10]],
    ["a branch", [7, 1, 5, 6, 5]],
    ["a function", [25, 7, 5, 5]],
    ["training", [20, 1, 5]],
  ])("finds a tensor that lies in another file in %s", (_, path) => {
    expect(readGraphFile(tensorIn(...path)).pointsOutside).toBe(true);
  });

  it("lets a tensor pass that says it lies inside", () => {
    const inside = field(7, ...field(5, (14 << 3) | 0, 0));
    expect(readGraphFile(Uint8Array.from(inside)).pointsOutside).toBe(false);
    const outside = field(7, ...field(5, (14 << 3) | 0, 1));
    expect(readGraphFile(Uint8Array.from(outside)).pointsOutside).toBe(true);
  });

  it.each([
    ["a field beyond the end", [0x0a, 5, 1]],
    ["a number without end", Array(12).fill(0xff)],
    ["a group", [0x0b]],
    ["field 0", [0x02, 0]],
    ["a length above 2^53", [0x0a, ...Array(8).fill(0xff), 0x7f]],
  ])("refuses %s", (_, bytes) => {
    expect(() => readGraphFile(Uint8Array.from(bytes as number[]))).toThrow(RangeError);
  });

  it("does not run out of stack where a file nests deeply", () => {
    const branches = Array.from({ length: 1000 }, () => [1, 5, 6]).flat(); // node, attribute, graph
    expect(readGraphFile(tensorIn(7, ...branches, 5)).pointsOutside).toBe(true);
  });
});

describe("a card", () => {
  const { card } = readAnswers();

  it("comes back whole, without keys that it does not know", () => {
    expect(parseCard({ ...card, later: 1 })).toEqual(card);
  });

  it("has Python's defaults where it is silent", () => {
    const { population: _, results: __, limits: ___, licence: ____, ...short } = card;
    expect(parseCard(short)).toMatchObject({
      population: { description: "", modalities: null, view_positions: null, age_years: null },
      results: [],
      limits: [],
      licence: "Apache-2.0",
    });
  });

  it.each([
    [{ operating_points: [] }, "operating_points"],
    [{ calibration: { ...card.calibration, temperature: 0 } }, "calibration.temperature"],
    [{ size_px: 1.5 }, "size_px"],
    [{ name: undefined }, "name"],
  ])("is refused with the place of its fault: %o", (change, place) => {
    expect(() => parseCard({ ...card, ...change })).toThrow(place);
  });
});

describe("a graph's signature", () => {
  const pixels = { name: "pixels", type: "uint8", shape: ["N", 1, "H", "W"] };
  const outputs = [
    { name: "logit", type: "float32", shape: ["N"] },
    { name: "probability", type: "float32", shape: ["N"] },
    { name: "cam", type: "float32", shape: ["N", 7, 7] },
    { name: "embedding", type: "float32", shape: ["N", 49] },
    { name: "atypicality", type: "float32", shape: ["N"] },
  ];

  it("passes, also with an output that a later version adds", () => {
    const later = [...outputs, { name: "mean", type: "float32", shape: ["N"] }];
    expect(() => checkSignature([pixels], later, "b")).not.toThrow();
  });

  it.each([
    [[], outputs, "its inputs are none"],
    [[{ ...pixels, name: "image" }], outputs, "its inputs are image"],
    [[{ ...pixels, type: "float32" }], outputs, "'pixels' is float32"],
    [[{ ...pixels, shape: ["N", 1, 224, "W"] }], outputs, "of any size"],
    [[{ ...pixels, shape: ["N", 3, "H", "W"] }], outputs, "of any size"],
    [[pixels], outputs.slice(1), "lacks the output logit"],
    [[pixels], [{ ...outputs[0], shape: [1] }, ...outputs.slice(1)], "'logit' is"],
    [[pixels], outputs.map((o) => ({ ...o, type: "float16" })), "'logit' is float16"],
    [[pixels], outputs.map((o) => ({ ...o, shape: ["N"] })), "'cam' is .* 3 axes"],
  ])("is refused with its fault %#", (inputs, found, fault) => {
    expect(() => checkSignature(inputs, found, "b")).toThrow(new RegExp(fault));
  });
});

it("hashes as sha256sum does, also without the browser's own hash", async () => {
  const expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-4
  const bytes = new TextEncoder().encode("abc");
  expect(await sha256Hex(bytes)).toBe(expected);
  const own = Object.getOwnPropertyDescriptor(globalThis, "crypto") as PropertyDescriptor;
  Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
  try {
    expect(await sha256Hex(bytes)).toBe(expected);
  } finally {
    Object.defineProperty(globalThis, "crypto", own);
  }
});
