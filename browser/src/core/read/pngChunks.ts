/** Walk a PNG's chunks: what it says of itself, before anything is inflated. */

import { animated, damaged, truncated, unreadable } from "./refusals";

const SIGNATURE_BYTES = 8;

/** The chunks that make the picture. Gamma, profiles and text are left out on purpose. */
export interface PngParts {
  width: number;
  height: number;
  /** 1, 2, 4 or 8. */
  depth: number;
  /** 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha. */
  colourType: number;
  isInterlaced: boolean;
  palette: Uint8Array | null;
  transparency: Uint8Array | null;
  /** The TIFF block of eXIf. */
  exif: Uint8Array | null;
  data: Uint8Array[];
}

interface Chunk {
  kind: string;
  body: Uint8Array;
}

/**
 * Return the parts of a PNG, each checksum compared.
 *
 * @throws ReadError cut short, damaged, animated, or with 16 bits.
 * Source: W3C PNG (third edition), section 5.3 and chapter 11.
 */
export function readPngParts(bytes: Uint8Array, title: string): PngParts {
  let parts: PngParts | null = null;
  for (const { kind, body } of readChunks(bytes, title)) {
    if (parts === null) {
      if (kind !== "IHDR") throw damaged(title, "no image header");
      parts = readHeader(body, title);
      continue;
    }
    const hasData = parts.data.length > 0;
    if (kind === "IDAT") parts.data.push(body);
    else if (kind === "PLTE") parts.palette = body;
    else if (kind === "tRNS") parts.transparency = body;
    else if (kind === "eXIf") parts.exif = body;
    else if (kind === "acTL" && !hasData) checkFrames(body, title);
  }
  if (parts === null || parts.data.length === 0) throw damaged(title, "no image data");
  if (parts.colourType === 3 && parts.palette === null) throw damaged(title, "no palette");
  return parts;
}

function* readChunks(bytes: Uint8Array, title: string): Generator<Chunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = SIGNATURE_BYTES;
  let hasData = false;
  while (true) {
    if (position + 8 > bytes.length) throw truncated(title);
    const length = view.getUint32(position);
    const end = position + 12 + length;
    if (end > bytes.length) throw truncated(title);
    const kind = String.fromCharCode(...bytes.subarray(position + 4, position + 8));
    hasData ||= kind === "IDAT";
    const isCritical = (bytes[position + 4] & 0x20) === 0;
    // A damaged note behind the picture does no harm to it.
    const isChecked = isCritical || !hasData;
    if (isChecked && crc32(bytes.subarray(position + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw damaged(title, `wrong checksum in chunk ${kind}`);
    }
    if (kind === "IEND") return;
    yield { kind, body: bytes.subarray(position + 8, end - 4) };
    position = end;
  }
}

function readHeader(body: Uint8Array, title: string): PngParts {
  if (body.length < 13) throw damaged(title, "no image header");
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const [depth, colourType, compression, filter, interlace] = body.subarray(8, 13);
  if (depth > 8) {
    throw unreadable(
      `${title}: has ${depth} bits a channel and no display window to show them by. ` +
        "Send the DICOM file, or convert it to 8-bit gray with a window.",
    );
  }
  const depths = { 0: [1, 2, 4, 8], 2: [8], 3: [1, 2, 4, 8], 4: [8], 6: [8] }[colourType];
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  if (!depths?.includes(depth) || !width || !height || compression || filter || interlace > 1) {
    throw damaged(title, "an image header that no PNG has");
  }
  return {
    width,
    height,
    depth,
    colourType,
    isInterlaced: interlace === 1,
    palette: null,
    transparency: null,
    exif: null,
    data: [],
  };
}

function checkFrames(body: Uint8Array, title: string): void {
  if (body.length < 8) return;
  const nFrames = new DataView(body.buffer, body.byteOffset).getUint32(0);
  if (nFrames > 1) throw animated(title);
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let remainder = byte;
  for (let bit = 0; bit < 8; bit++) {
    remainder = remainder & 1 ? (remainder >>> 1) ^ 0xedb88320 : remainder >>> 1;
  }
  return remainder;
});

function crc32(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (let index = 0; index < bytes.length; index++) {
    sum = (sum >>> 8) ^ CRC_TABLE[(sum ^ bytes[index]) & 0xff];
  }
  return ~sum >>> 0;
}
