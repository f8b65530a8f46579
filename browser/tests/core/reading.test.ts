import { deflateRawSync, deflateSync } from "node:zlib";
import { expect, it } from "vitest";
import { Codecs } from "../../src/core/read/dicom/codecs";
import { detectFormat } from "../../src/core/read/format";
import { onBlack } from "../../src/core/read/gray";
import { inflateAtMost, TooMuchError, unzlibInto } from "../../src/core/read/inflate";
import { readFile } from "../../src/core/read/read";
import { grouped } from "../../src/core/read/refusals";
import { goldenBytes, readReadings } from "./golden";

// What needs neither a browser's decoder nor WASM; tests/browser reads all of them in Chromium.
const inScript = Object.entries(readReadings()).filter(
  ([name]) => !/jpeg$|jpeg-(ls|2000|baseline)/.test(name),
);
const codecs = new Codecs("http://nowhere.invalid/");

it.each(inScript)("%s decodes as written down", async (name, expected) => {
  const read = await readFile(goldenBytes(name), name, codecs);
  expect([read.height, read.width]).toEqual([expected.rows.length, expected.rows[0].length / 2]);
  expect(Buffer.from(read.pixels).toString("hex")).toBe(expected.rows.join(""));
  expect(read.isColour).toBe(expected.is_colour ?? false);
  expect(read.modality).toBe(expected.modality ?? null);
  expect(read.viewPosition).toBe(expected.view_position ?? null);
  expect(read.ageYears).toBe(expected.age_years ?? null);
  expect(read.sex).toBe(expected.sex ?? null);
});

it("refuses a cut JPEG-LS before its decoder is fetched", async () => {
  const bytes = goldenBytes("jpeg-ls.dcm");
  const end = Buffer.from(bytes).lastIndexOf(Buffer.from([0xff, 0xd9]));
  bytes.fill(0, end - 9, end + 2);
  await expect(readFile(bytes, "cut", codecs)).rejects.toThrow(
    "cannot be decoded: it is cut short",
  );
});

it("refuses what is meant for processing, not for display", async () => {
  const bytes = Buffer.from(goldenBytes("window.dcm"));
  const modality = Buffer.from([8, 0, 0x60, 0, ...Buffer.from("CS"), 2, 0, ...Buffer.from("DX")]);
  const intent = Buffer.from([8, 0, 0x68, 0, ...Buffer.from("CS"), 14, 0]);
  const at = bytes.indexOf(modality) + modality.length;
  const parts = [bytes.subarray(0, at), intent, Buffer.from("FOR PROCESSING"), bytes.subarray(at)];
  const raw = new Uint8Array(Buffer.concat(parts));
  await expect(readFile(raw, "raw", codecs)).rejects.toThrow("FOR PROCESSING: the detector");
});

it("leaves the bytes that it reads as they were", async () => {
  for (const [name] of inScript) {
    const bytes = goldenBytes(name);
    await readFile(bytes, name, codecs);
    expect(bytes).toEqual(goldenBytes(name));
  }
});

it("knows formats by their first bytes", () => {
  expect(detectFormat(goldenBytes("gray.png"))).toBe("PNG");
  expect(detectFormat(goldenBytes("gray.jpeg"))).toBe("JPEG");
  expect(detectFormat(goldenBytes("window.dcm"))).toBe("DICOM");
  expect(detectFormat(Buffer.from("RIFF....WEBPVP8 "))).toBe("WebP");
  expect(detectFormat(Buffer.from("RIFF....WAVE"))).toBeNull();
  expect(detectFormat(Buffer.from("II*\0"))).toBe("TIFF");
  expect(detectFormat(new Uint8Array())).toBeNull();
});

it("lays each value on black to the nearest level", () => {
  const levels = Array.from({ length: 256 }, (_, level) => level);
  const wrong = levels.flatMap((alpha) =>
    levels.filter((value) => onBlack(value, alpha) !== Math.round((value * alpha) / 255)),
  );
  expect(wrong).toEqual([]);
});

it("inflates just what is wanted", () => {
  const raw = Uint8Array.from(
    { length: 100_000 },
    (_, index) => Math.imul(index, 2654435761) >>> 24,
  );
  const deflated = new Uint8Array(deflateSync(raw));
  const parts = [deflated.subarray(0, 9), deflated.subarray(9)];
  expect(Buffer.compare(unzlibInto(parts, raw.length), raw)).toBe(0);
  expect(Buffer.compare(unzlibInto(parts, 1000), raw.subarray(0, 1000))).toBe(0);
  expect(() => unzlibInto(parts, raw.length + 1)).toThrow("cut short");
  expect(() => unzlibInto([deflated.subarray(0, deflated.length / 2)], raw.length)).toThrow(
    "cut short",
  );
});

it("stops a bomb while it inflates", () => {
  const bomb = deflateRawSync(new Uint8Array(5_000_000));
  expect(() => inflateAtMost(bomb, 1_000_000)).toThrow(TooMuchError);
  const size = inflateAtMost(bomb, 5_000_000).reduce((sum, chunk) => sum + chunk.length, 0);
  expect(size).toBe(5_000_000);
});

it("groups digits by three, as Python does", () => {
  expect([7, 999, 1000, 64_000_000].map(grouped)).toEqual(["7", "999", "1,000", "64,000,000"]);
});
