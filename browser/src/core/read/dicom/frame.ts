/** Decode the compressed pixel data of a DICOM image; repeats imaging/dicom_frame.py. */

import { decodeJpeg } from "../jpeg";
import { findFrame, type JpegFrame } from "../jpegHeader";
import type { Codecs } from "./codecs";
import { findJpeg2000, readJpeg2000Header } from "./codestream";
import { decodeJpegLossless } from "./jpegLossless";
import { decodeRle } from "./rle";
import type { Tags } from "./tags";
import { codingOf } from "./transferSyntax";

type Bytes = Uint8Array<ArrayBuffer>;
type Samples = Uint8Array | Uint16Array;

interface Header {
  width: number;
  height: number;
  bits: number;
  components: number;
}

/**
 * Return the stored values of one compressed gray frame.
 *
 * The frame's own size must be the stated one before it is decoded, so that the caller's check of
 * the size holds for the memory, too.
 *
 * @throws Error damaged, cut short, or the frame differs from what is stated.
 */
export async function decodeFrame(data: Bytes, tags: Tags, codecs: Codecs): Promise<Int32Array> {
  const coding = codingOf(tags.syntax);
  const nPixels = tags.rows * tags.columns;
  if (coding === "rle") {
    const values = decodeRle(data, nPixels, tags.bitsAllocated / 8);
    return withSign(values, tags.bitsAllocated, tags.isSigned);
  }
  if (coding === "jpeg-2000") {
    const stream = findJpeg2000(data);
    const header = readJpeg2000Header(stream);
    checkHeader(header, tags);
    return finish(await codecs.decodeJpeg2000(stream, header), header.bits, tags);
  }
  const frame = findFrame(data);
  checkHeader(frame, tags);
  if (coding === "jpeg-lossless") return finish(decodeJpegLossless(data), frame.bits, tags);
  if (coding === "jpeg-ls")
    return finish(await decodeJpegLs(data, frame, codecs), frame.bits, tags);
  return finish(await decodeLossy(data, frame), frame.bits, tags);
}

function checkHeader({ width, height, bits, components }: Header, tags: Tags): void {
  if (width !== tags.columns || height !== tags.rows) {
    throw new Error(
      `its compressed image is ${width} x ${height} pixels, ` +
        `but its tags say ${tags.columns} x ${tags.rows}`,
    );
  }
  if (components !== 1)
    throw new Error(`its compressed image has ${components} components, not one`);
  if (bits < 2 || bits > tags.bitsAllocated) {
    throw new Error(`its compressed image has ${bits} bits in ${tags.bitsAllocated}`);
  }
}

async function decodeJpegLs(data: Bytes, frame: JpegFrame, codecs: Codecs): Promise<Samples> {
  if (frame.kind !== "jpeg-ls") {
    throw new Error("it is another kind of JPEG than the transfer syntax says");
  }
  // Its decoder searches on for seconds where the end is missing.
  let end = data.length;
  while (data[end - 1] === 0) end--; // the byte that makes the frame's length even
  if (data[end - 2] !== 0xff || data[end - 1] !== 0xd9) throw new Error("it is cut short");
  return codecs.decodeJpegLs(data, frame);
}

async function decodeLossy(data: Bytes, frame: JpegFrame): Promise<Samples> {
  if (!["baseline", "extended", "progressive"].includes(frame.kind) || frame.bits !== 8) {
    // No decoder of 12-bit lossy JPEG has both a fitting licence and a small package.
    throw new Error(`${frame.kind} JPEG with ${frame.bits} bits is not decoded here`);
  }
  return (await decodeJpeg(data, frame)).samples;
}

function finish(samples: Samples, bits: number, tags: Tags): Int32Array {
  if (samples.length !== tags.rows * tags.columns) {
    throw new Error("it decodes to another size than it claims");
  }
  return withSign(samples, bits, tags.isSigned);
}

/** Where values are signed, the upper half of them are the negative ones (two's complement). */
function withSign(samples: Samples, bits: number, isSigned: boolean): Int32Array {
  const values = Int32Array.from(samples);
  if (!isSigned) return values;
  return values.map((value) => (value >= 2 ** (bits - 1) ? value - 2 ** bits : value));
}
