/**
 * Decode lossless JPEG (processes 14 and 14 SV1), which many archives hold radiographs in.
 *
 * Written here, as imaging/jpeg_lossless.py is, because the decoder for scripts that exists rounds
 * predictor 7 wrongly, knows no point transform, and takes a file that is cut short for a whole.
 *
 * Source: ITU-T T.81, annexes B (syntax), C and F (Huffman), H (lossless).
 */

import { readSegments } from "../jpegHeader";

const [FRAME, TABLES, RESTART_INTERVAL, SCAN] = [0xc3, 0xc4, 0xdd, 0xda];
const NO_CODE = 255;

/** What the next 16 bits mean, for each of their 65,536 values. */
interface HuffmanTable {
  /** How many bits the difference has; 255: no such code word. */
  category: Uint8Array;
  codeBits: Uint8Array;
}

interface Scan {
  width: number;
  height: number;
  bits: number;
  restartInterval: number;
  table: HuffmanTable;
  predictor: number;
  pointTransform: number;
  /** Of the entropy-coded data. */
  start: number;
}

/**
 * Return (height * width) samples of a lossless JPEG with one component, 2 to 16 bits each.
 *
 * @throws Error damaged, cut short, or not such a JPEG.
 */
export function decodeJpegLossless(data: Uint8Array): Uint16Array {
  const scan = readHeaders(data);
  const { width, height, pointTransform } = scan;
  const perInterval = scan.restartInterval || width * height;
  const intervals = splitIntervals(data, scan.start);
  if (perInterval % width || intervals.length !== Math.ceil((width * height) / perInterval)) {
    throw new Error("its restart intervals do not fit its size");
  }
  const samples = new Uint16Array(width * height);
  intervals.forEach((interval, index) => {
    const start = index * perInterval;
    decodeInterval(interval, samples.subarray(start, start + perInterval), scan);
  });
  return pointTransform ? samples.map((sample) => sample << pointTransform) : samples;
}

function readHeaders(data: Uint8Array): Scan {
  let frame: Uint8Array | null = null;
  let restartInterval = 0;
  const tables = new Map<number, HuffmanTable>();
  for (const { marker, body, end } of readSegments(data)) {
    if (end > data.length) break;
    if (marker === FRAME) frame = body;
    else if (marker === TABLES) readTables(body, tables);
    else if (marker === RESTART_INTERVAL) restartInterval = (body[0] << 8) | body[1];
    else if (marker === SCAN) {
      if (!frame || frame.length < 6) break;
      const [bits, highHeight, lowHeight, highWidth, lowWidth, nComponents] = frame;
      const [nScanned, , selectors, predictor, , approximation] = body;
      const scan = {
        width: (highWidth << 8) | lowWidth,
        height: (highHeight << 8) | lowHeight,
        bits,
        restartInterval,
        table: tables.get(selectors >> 4),
        predictor,
        pointTransform: approximation & 15,
        start: end,
      };
      if (nComponents !== 1 || nScanned !== 1 || !isSound(scan)) break;
      return scan;
    } else if (marker >= 0xc0 && marker <= 0xcf && marker !== 0xcc) {
      throw new Error("it is another kind of JPEG than the transfer syntax says");
    }
  }
  throw new Error("its header is cut short, or not that of a lossless gray image");
}

function isSound(scan: Omit<Scan, "table"> & { table: HuffmanTable | undefined }): scan is Scan {
  const { width, height, bits, predictor, pointTransform, table } = scan;
  const isSized = width > 0 && height > 0 && bits >= 2 && bits <= 16 && pointTransform < bits;
  return isSized && predictor >= 1 && predictor <= 7 && table !== undefined;
}

function readTables(body: Uint8Array, tables: Map<number, HuffmanTable>): void {
  let at = 0;
  while (at < body.length) {
    const counts = body.subarray(at + 1, at + 17);
    const nCodes = counts.reduce((sum, count) => sum + count, 0);
    const symbols = body.subarray(at + 17, at + 17 + nCodes);
    if (counts.length !== 16 || symbols.length !== nCodes || symbols.some((s) => s > 16)) {
      throw new Error("a Huffman table is damaged");
    }
    tables.set(body[at] & 15, makeTable(counts, symbols));
    at += 17 + nCodes;
  }
}

function makeTable(counts: Uint8Array, symbols: Uint8Array): HuffmanTable {
  const category = new Uint8Array(65536).fill(NO_CODE);
  const codeBits = new Uint8Array(65536).fill(1);
  let first = 0; // the first 16-bit value that begins with the next code word
  let index = 0;
  counts.forEach((count, position) => {
    const length = position + 1;
    for (let code = 0; code < count; code++, index++) {
      const end = first + 2 ** (16 - length);
      if (end > 65536) throw new Error("a Huffman table has too many codes");
      category.fill(symbols[index], first, end);
      codeBits.fill(length, first, end);
      first = end;
    }
  });
  return { category, codeBits };
}

/** Return the entropy-coded data between the restart markers, without stuffed zeros. */
function splitIntervals(data: Uint8Array, start: number): Uint8Array[] {
  const intervals: Uint8Array[] = [];
  let [from, to] = [start, 0];
  let interval = new Uint8Array(data.length - start);
  while (true) {
    const found = data.indexOf(0xff, from);
    if (found < 0 || found + 1 >= data.length) throw new Error("it is cut short");
    interval.set(data.subarray(from, found), to);
    to += found - from;
    from = found + 1;
    const marker = data[from];
    if (marker === 0xff) continue; // padding
    from += 1;
    if (marker === 0) {
      interval[to++] = 0xff;
      continue;
    }
    intervals.push(interval.subarray(0, to));
    if (marker < 0xd0 || marker > 0xd7) return intervals;
    interval = new Uint8Array(data.length - from);
    to = 0;
  }
}

function decodeInterval(data: Uint8Array, samples: Uint16Array, scan: Scan): void {
  const { category, codeBits } = scan.table;
  const { width, predictor } = scan;
  const origin = 2 ** (scan.bits - scan.pointTransform - 1);
  let bit = 0;
  const peek = (from: number) => {
    const byte = from >> 3;
    const three = (data[byte] << 16) | (data[byte + 1] << 8) | data[byte + 2];
    return (three >> (8 - (from & 7))) & 0xffff;
  };
  for (let index = 0; index < samples.length; index++) {
    const code = peek(bit);
    const nBits = category[code];
    if (nBits === NO_CODE) throw new Error("it holds a code word that is in no table");
    bit += codeBits[code];
    let difference = 32768; // category 16 stands for it alone and has no further bits
    if (nBits < 16) {
      const extra = nBits ? peek(bit) >> (16 - nBits) : 0;
      bit += nBits;
      // The lower half of a category's values are the negative differences (T.81, F.1.2.1.1).
      difference = extra < 2 ** nBits / 2 ? extra - 2 ** nBits + 1 : extra;
    }
    samples[index] = difference + predict(samples, index, width, predictor, origin);
  }
  if (bit > 8 * data.length) throw new Error("it is cut short");
}

/** Source: T.81, table H.1; the first row and column of an interval have rules of their own. */
function predict(
  samples: Uint16Array,
  index: number,
  width: number,
  predictor: number,
  origin: number,
): number {
  if (index === 0) return origin;
  if (index < width) return samples[index - 1];
  const above = samples[index - width];
  if (index % width === 0) return above;
  const left = samples[index - 1];
  const corner = samples[index - width - 1];
  switch (predictor) {
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return corner;
    case 4:
      return left + above - corner;
    case 5:
      return left + ((above - corner) >> 1);
    case 6:
      return above + ((left - corner) >> 1);
    default:
      return (left + above) >> 1;
  }
}
