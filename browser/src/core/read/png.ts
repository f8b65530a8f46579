/**
 * Read a PNG exactly.
 *
 * Written here because a canvas multiplies colours by alpha and takes profiles and gamma into
 * account, and the decoders for scripts misread interlaced pictures below 8 bits or fill missing
 * rows in silence.
 *
 * Source: W3C PNG (third edition), chapters 7, 8, 9 and 11.
 */

import type { Radiograph } from "../types";
import { readOrientation } from "./exif";
import { onBlack, toRadiograph } from "./gray";
import { unzlibInto } from "./inflate";
import { type PngParts, readPngParts } from "./pngChunks";
import { checkSize } from "./refusals";

const CHANNELS: Record<number, number> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const PASSES = [
  { x: 0, y: 0, stepX: 8, stepY: 8 },
  { x: 4, y: 0, stepX: 8, stepY: 8 },
  { x: 0, y: 4, stepX: 4, stepY: 8 },
  { x: 2, y: 0, stepX: 4, stepY: 4 },
  { x: 0, y: 2, stepX: 2, stepY: 4 },
  { x: 1, y: 0, stepX: 2, stepY: 2 },
  { x: 0, y: 1, stepX: 1, stepY: 2 },
];
const WHOLE = [{ x: 0, y: 0, stepX: 1, stepY: 1 }];

interface Pass {
  x: number;
  y: number;
  stepX: number;
  stepY: number;
  width: number;
  height: number;
  rowBytes: number;
}

/** @throws ReadError cut short, damaged, animated, with 16 bits, or too large. */
export function readPng(bytes: Uint8Array, title: string): Radiograph {
  const parts = readPngParts(bytes, title);
  checkSize(title, parts.width, parts.height);
  const stored = readSamples(parts);
  const { width, height } = parts;
  const orientation = parts.exif === null ? 1 : readOrientation(parts.exif);
  return toRadiograph({ ...toGrayOrRgb(stored, parts), width, height, orientation });
}

/** Return (height * width * channels) samples as they are stored, one a byte. */
function readSamples(parts: PngParts): Uint8Array<ArrayBuffer> {
  const { width, height, depth } = parts;
  const channels = CHANNELS[parts.colourType];
  const passes = (parts.isInterlaced ? PASSES : WHOLE).map((pass): Pass => {
    const passWidth = Math.max(0, Math.ceil((width - pass.x) / pass.stepX));
    const passHeight = Math.max(0, Math.ceil((height - pass.y) / pass.stepY));
    const rowBytes = Math.ceil((passWidth * channels * depth) / 8);
    return { ...pass, width: passWidth, height: passWidth && passHeight, rowBytes };
  });
  const nBytes = passes.reduce((sum, pass) => sum + pass.height * (pass.rowBytes + 1), 0);
  const filtered = unzlibInto(parts.data, nBytes);
  const samples = new Uint8Array(width * height * channels);
  let start = 0;
  for (const pass of passes) {
    const end = start + pass.height * (pass.rowBytes + 1);
    unfilter(filtered.subarray(start, end), pass, Math.max(1, (channels * depth) / 8));
    spread(filtered.subarray(start, end), pass, parts, samples);
    start = end;
  }
  return samples;
}

/** Undo the filters of a pass's rows in place; the filter's byte stays before each row. */
function unfilter(rows: Uint8Array, { height, rowBytes }: Pass, bytesPerPixel: number): void {
  const stride = rowBytes + 1;
  const above = new Uint8Array(rowBytes); // of the first row: zeros
  for (let row = 0; row < height; row++) {
    const filter = rows[row * stride];
    const line = rows.subarray(row * stride + 1, (row + 1) * stride);
    unfilterRow(filter, line, above, bytesPerPixel);
    above.set(line);
  }
}

function unfilterRow(filter: number, line: Uint8Array, above: Uint8Array, back: number): void {
  const n = line.length;
  switch (filter) {
    case 0:
      return;
    case 1:
      for (let i = back; i < n; i++) line[i] += line[i - back];
      return;
    case 2:
      for (let i = 0; i < n; i++) line[i] += above[i];
      return;
    case 3:
      for (let i = 0; i < n; i++) {
        const left = i < back ? 0 : line[i - back];
        line[i] += (left + above[i]) >> 1;
      }
      return;
    case 4:
      for (let i = 0; i < n; i++) {
        const left = i < back ? 0 : line[i - back];
        const corner = i < back ? 0 : above[i - back];
        line[i] += paeth(left, above[i], corner);
      }
      return;
    default:
      throw new Error(`a row filter ${filter} that no PNG has`);
  }
}

function paeth(left: number, above: number, corner: number): number {
  const estimate = left + above - corner;
  const [toLeft, toAbove, toCorner] = [
    Math.abs(estimate - left),
    Math.abs(estimate - above),
    Math.abs(estimate - corner),
  ];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** Put a pass's samples where they belong in the picture. */
function spread(rows: Uint8Array, pass: Pass, parts: PngParts, samples: Uint8Array): void {
  const { depth, width } = parts;
  const channels = CHANNELS[parts.colourType];
  const mask = (1 << depth) - 1;
  for (let row = 0; row < pass.height; row++) {
    const start = row * (pass.rowBytes + 1) + 1;
    let to = ((pass.y + row * pass.stepY) * width + pass.x) * channels;
    if (depth === 8 && pass.stepX === 1) {
      samples.set(rows.subarray(start, start + pass.rowBytes), to);
      continue;
    }
    for (let column = 0, bit = 0; column < pass.width; column++) {
      for (let channel = 0; channel < channels; channel++, bit += depth) {
        const shift = 8 - depth - (bit & 7);
        samples[to + channel] = (rows[start + (bit >> 3)] >> shift) & mask;
      }
      to += pass.stepX * channels;
    }
  }
}

/** Return 8-bit gray or RGB, what is transparent laid on black. */
function toGrayOrRgb(
  stored: Uint8Array<ArrayBuffer>,
  parts: PngParts,
): { samples: Uint8Array<ArrayBuffer>; channels: 1 | 3 } {
  const { colourType, depth, transparency } = parts;
  switch (colourType) {
    case 3:
      return { samples: throughPalette(stored, parts), channels: 3 };
    case 4:
      return { samples: withoutAlpha(stored, 2), channels: 1 };
    case 6:
      return { samples: withoutAlpha(stored, 4), channels: 3 };
    default: {
      const channels = colourType === 0 ? 1 : 3;
      if (transparency !== null) blackenKey(stored, channels, transparency);
      if (depth < 8) {
        const step = 255 / ((1 << depth) - 1);
        for (let index = 0; index < stored.length; index++) stored[index] *= step;
      }
      return { samples: stored, channels };
    }
  }
}

function throughPalette(stored: Uint8Array, parts: PngParts): Uint8Array<ArrayBuffer> {
  const colours = new Uint8Array(3 * 256); // indices without a colour are black
  colours.set((parts.palette ?? new Uint8Array()).subarray(0, colours.length));
  parts.transparency?.subarray(0, 256).forEach((alpha, index) => {
    for (let at = 3 * index; at < 3 * index + 3; at++) colours[at] = onBlack(colours[at], alpha);
  });
  const samples = new Uint8Array(3 * stored.length);
  for (let index = 0, to = 0; index < stored.length; index++) {
    const from = 3 * stored[index];
    samples[to++] = colours[from];
    samples[to++] = colours[from + 1];
    samples[to++] = colours[from + 2];
  }
  return samples;
}

function withoutAlpha(stored: Uint8Array, channels: number): Uint8Array<ArrayBuffer> {
  const nColours = channels - 1;
  const samples = new Uint8Array((stored.length / channels) * nColours);
  for (let from = 0, to = 0; from < stored.length; from += channels) {
    const alpha = stored[from + nColours];
    for (let channel = 0; channel < nColours; channel++) {
      samples[to++] = onBlack(stored[from + channel], alpha);
    }
  }
  return samples;
}

/** Make the one transparent colour black; it is named in stored values, 16 bits a channel. */
function blackenKey(stored: Uint8Array, channels: number, transparency: Uint8Array): void {
  if (transparency.length < 2 * channels) return;
  const view = new DataView(transparency.buffer, transparency.byteOffset);
  const key = Array.from({ length: channels }, (_, channel) => view.getUint16(2 * channel));
  for (let at = 0; at < stored.length; at += channels) {
    if (key.every((value, channel) => stored[at + channel] === value)) {
      stored.fill(0, at, at + channels);
    }
  }
}
