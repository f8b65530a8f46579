/** Read a JPEG: the browser decodes, and everything else that it might do is prevented. */

import type { Radiograph } from "../types";
import { decodeByBrowser } from "./canvas";
import { readOrientation } from "./exif";
import { toRadiograph } from "./gray";
import { findEnd, type JpegFrame, readFrame, readSegments } from "./jpegHeader";
import { CUT_SHORT, checkSize, damaged, notGrayOrRgb, truncated } from "./refusals";

const [APP0, APP1, APP14, APP15] = [0xe0, 0xe1, 0xee, 0xef];
const EXIF = [0x45, 0x78, 0x69, 0x66, 0, 0];
const BLOCK_PX = 8;
const MID_GRAY = 128; // what decoders fill up with

interface Samples {
  /** (height * width * channels) */
  samples: Uint8Array<ArrayBuffer>;
  channels: 1 | 3;
}

/** @throws ReadError damaged, cut short, CMYK, not 8 bits, or too large. */
export async function readJpeg(bytes: Uint8Array<ArrayBuffer>, title: string): Promise<Radiograph> {
  if (findEnd(bytes) < 0) throw truncated(title);
  let frame: JpegFrame | null = null;
  let orientation = 1;
  for (const segment of readSegments(bytes)) {
    frame ??= readFrame(segment);
    if (segment.marker === APP1 && EXIF.every((byte, index) => segment.body[index] === byte)) {
      orientation = readOrientation(segment.body.subarray(EXIF.length));
    }
  }
  if (!frame?.width || !frame.height) throw damaged(title, "no image header that is understood");
  checkSize(title, frame.width, frame.height);
  if (frame.components === 4) throw notGrayOrRgb(title, "CMYK");
  if (frame.bits !== 8 || ![1, 3].includes(frame.components) || isLossless(frame)) {
    throw damaged(title, `a ${frame.kind} JPEG with ${frame.bits} bits is not decoded here`);
  }
  const picture = await decodeJpeg(bytes, frame);
  return toRadiograph({ ...picture, width: frame.width, height: frame.height, orientation });
}

/**
 * Decode a JPEG with 8 bits and one or three components.
 *
 * @throws Error damaged, or cut short where the decoder would fill it up in silence.
 */
export async function decodeJpeg(
  bytes: Uint8Array<ArrayBuffer>,
  frame: JpegFrame,
): Promise<Samples> {
  const end = findEnd(bytes);
  if (end < 0) throw new Error(CUT_SHORT);
  const picture = await decode([...withoutNotes(bytes)], frame);
  if (frame.kind !== "progressive" && !endsMidGray(picture, frame)) return picture;
  // An honest picture may end so, too. With more data before its end marker it changes only if
  // something was missing.
  const longer = await decode(
    [...withoutNotes(bytes.subarray(0, end)), new Uint8Array(65536).fill(0x55), bytes.slice(end)],
    frame,
  );
  const isWhole = picture.samples.every((value, index) => value === longer.samples[index]);
  if (!isWhole) throw new Error(CUT_SHORT);
  return picture;
}

async function decode(parts: BlobPart[], frame: JpegFrame): Promise<Samples> {
  const { width, height } = frame;
  const channels = frame.components === 1 ? 1 : 3;
  const samples = new Uint8Array(width * height * channels);
  await decodeByBrowser(parts, "image/jpeg", frame, (values, tile) => {
    for (let row = 0, from = 0; row < tile.height; row++) {
      let to = ((tile.y + row) * width + tile.x) * channels;
      for (const end = to + tile.width * channels; to < end; from += 4) {
        samples[to++] = values[from];
        if (channels === 1) continue;
        samples[to++] = values[from + 1];
        samples[to++] = values[from + 2];
      }
    }
  });
  return { samples, channels };
}

/**
 * Leave out the segments that say how to turn or colour the picture: browsers differ in what they
 * do about them. JFIF and Adobe stay, since they say how YCbCr is meant.
 */
function* withoutNotes(bytes: Uint8Array<ArrayBuffer>): Generator<Uint8Array<ArrayBuffer>> {
  let kept = 0;
  for (const { marker, start, end } of readSegments(bytes)) {
    if (marker <= APP0 || marker > APP15 || marker === APP14) continue;
    yield bytes.subarray(kept, start);
    kept = end;
  }
  yield bytes.subarray(kept);
}

function endsMidGray({ samples, channels }: Samples, { width, height }: JpegFrame): boolean {
  const left = Math.floor((width - 1) / BLOCK_PX) * BLOCK_PX;
  const top = Math.floor((height - 1) / BLOCK_PX) * BLOCK_PX;
  for (let row = top; row < height; row++) {
    const corner = samples.subarray((row * width + left) * channels, (row + 1) * width * channels);
    if (corner.some((value) => value !== MID_GRAY)) return false;
  }
  return true;
}

function isLossless({ kind }: JpegFrame): boolean {
  return kind === "lossless" || kind === "jpeg-ls";
}
