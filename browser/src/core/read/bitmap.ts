/** Read the two rarer picture formats: BMP and WebP. The browser decodes both. */

import type { Radiograph } from "../types";
import { decodeByBrowser } from "./canvas";
import { readOrientation } from "./exif";
import { toRadiograph } from "./gray";
import { animated, checkSize, damaged, truncated, unreadable } from "./refusals";

type Bytes = Uint8Array<ArrayBuffer>;

interface Header {
  width: number;
  height: number;
  orientation: number;
  /** What to give to the decoder. */
  parts: BlobPart[];
  /** Where the rows of a BMP of 32 bits lie; browsers differ in what they make of its fourth byte. */
  rows?: { offset: number; isTopDown: boolean } | undefined;
}

const BMP_BITS = [1, 4, 8, 24, 32];
const BITFIELDS = 3;
const MASKS = [0xff0000, 0xff00, 0xff]; // red, green, blue: the order in which 32 bits lie anyway

/** @throws ReadError damaged, cut short, animated, too large, or of a rare kind of BMP. */
export async function readBitmap(
  bytes: Bytes,
  title: string,
  format: "BMP" | "WebP",
): Promise<Radiograph> {
  const header = format === "BMP" ? readBmpHeader(bytes, title) : readWebPHeader(bytes, title);
  const { width, height, orientation, parts, rows } = header;
  const samples = new Uint8Array(width * height * 3);
  if (rows) {
    for (let row = 0, to = 0; row < height; row++) {
      const from = rows.offset + 4 * width * (rows.isTopDown ? row : height - 1 - row);
      for (let at = from; at < from + 4 * width; at += 4) {
        samples[to++] = bytes[at + 2];
        samples[to++] = bytes[at + 1];
        samples[to++] = bytes[at];
      }
    }
    return toRadiograph({ samples, channels: 3, width, height, orientation });
  }
  const type = `image/${format.toLowerCase()}`;
  await decodeByBrowser(parts, type, header, (values, tile) => {
    for (let row = 0, from = 0; row < tile.height; row++) {
      let to = ((tile.y + row) * width + tile.x) * 3;
      for (let column = 0; column < tile.width; column++, from += 4) {
        samples[to++] = values[from];
        samples[to++] = values[from + 1];
        samples[to++] = values[from + 2];
      }
    }
  });
  return toRadiograph({ samples, channels: 3, width, height, orientation });
}

/** Keeps to the kinds of BMP that imaging/bmp.py lets pass. */
function readBmpHeader(bytes: Bytes, title: string): Header {
  if (bytes.length < 34) throw truncated(title);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const offset = view.getUint32(10, true);
  const isCore = view.getUint32(14, true) === 12;
  const width = isCore ? view.getUint16(18, true) : view.getInt32(18, true);
  const signedHeight = isCore ? view.getUint16(20, true) : view.getInt32(22, true);
  const height = Math.abs(signedHeight);
  const bits = view.getUint16(isCore ? 24 : 28, true);
  const compression = isCore ? 0 : view.getUint32(30, true);
  if (width < 1 || height < 1) throw damaged(title, "no image header that is understood");
  const hasMasks = compression === BITFIELDS && bits === 32 && bytes.length >= 66;
  const isPlain = hasMasks
    ? MASKS.every((mask, index) => view.getUint32(54 + 4 * index, true) === mask)
    : compression === 0;
  if (!isPlain || !BMP_BITS.includes(bits)) {
    throw unreadable(`${title}: is a BMP of a rare kind. Save it as a PNG.`);
  }
  checkSize(title, width, height);
  const stride = Math.ceil((width * bits) / 32) * 4;
  if (offset + stride * height > bytes.length) throw truncated(title);
  const rows = bits === 32 ? { offset, isTopDown: signedHeight < 0 } : undefined;
  return { width, height, orientation: 1, parts: [bytes], rows };
}

/** Source: RFC 9649, section 2. */
function readWebPHeader(bytes: Bytes, title: string): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = 8 + view.getUint32(4, true);
  let size: { width: number; height: number } | null = null;
  let orientation = 1;
  const parts: Bytes[] = [];
  for (let at = 12; at + 8 <= end; ) {
    const kind = String.fromCharCode(...bytes.subarray(at, at + 4));
    const length = view.getUint32(at + 4, true);
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "ANIM" || kind === "ANMF") throw animated(title);
    if (kind === "EXIF") orientation = readOrientation(withoutPrefix(body));
    // The first of these three is the picture, or states its size.
    size ??= readWebPSize(kind, body);
    if (size) checkSize(title, size.width, size.height);
    if (body.length < length) throw truncated(title);
    if (["VP8 ", "VP8L", "ALPH"].includes(kind)) {
      parts.push(bytes.subarray(at, at + 8 + length + (length & 1)));
    } else if (kind === "VP8X") {
      const chunk = bytes.slice(at, at + 8 + length);
      chunk[8] &= 0x10; // alpha stays; profile and EXIF are left out
      parts.push(chunk);
    }
    at += 8 + length + (length & 1);
  }
  if (end > bytes.length) throw truncated(title);
  if (size === null) throw damaged(title, "no image header that is understood");
  const head = new Uint8Array(12);
  head.set(bytes.subarray(0, 12));
  const nBytes = parts.reduce((sum, part) => sum + part.length, 4);
  new DataView(head.buffer).setUint32(4, nBytes, true);
  return { ...size, orientation, parts: [head, ...parts] };
}

function readWebPSize(kind: string, body: Bytes): { width: number; height: number } | null {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (kind === "VP8X" && body.length >= 10) {
    const width = 1 + (view.getUint32(4, true) & 0xffffff);
    return { width, height: 1 + (view.getUint16(7, true) | (body[9] << 16)) };
  }
  if (kind === "VP8L" && body.length >= 5) {
    const word = view.getUint32(1, true);
    return { width: 1 + (word & 0x3fff), height: 1 + ((word >>> 14) & 0x3fff) };
  }
  if (kind === "VP8 " && body.length >= 10) {
    return { width: view.getUint16(6, true) & 0x3fff, height: view.getUint16(8, true) & 0x3fff };
  }
  return null;
}

/** Some writers put the JPEG's "Exif\0\0" before the TIFF block. */
function withoutPrefix(body: Bytes): Bytes {
  return body[0] === 0x45 ? body.subarray(6) : body;
}
