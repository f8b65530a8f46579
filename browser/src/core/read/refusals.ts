/** The refusals, in the words of imaging/source.py and imaging/read_raster.py. */

import { ReadError } from "../errors";

/** Larger than any chest radiograph (a DX detector has 4 to 16 million). */
export const MAX_PIXELS = 64_000_000;
export const MAX_FILE_BYTES = 2 ** 30;

/** @throws ReadError the picture claims more pixels than is safe; asked before decoding. */
export function checkSize(title: string, widthPx: number, heightPx: number): void {
  if (widthPx * heightPx <= MAX_PIXELS) return;
  throw new ReadError(
    "ImageTooLargeError",
    `${title}: claims ${widthPx} x ${heightPx} pixels, more than the ${grouped(MAX_PIXELS)} that ` +
      "are decoded at most. Check that it is a radiograph, or scale it down first.",
  );
}

/** @throws ReadError there are no bytes, or too many. */
export function checkFile(bytes: Uint8Array, title: string): void {
  if (bytes.length === 0) {
    throw unreadable(`${title}: has no bytes. Copy it again from where it came, or leave it out.`);
  }
  if (bytes.length > MAX_FILE_BYTES) {
    throw new ReadError(
      "ImageTooLargeError",
      `${title}: has ${grouped(bytes.length)} bytes, more than the ${grouped(MAX_FILE_BYTES)} ` +
        "that are read at most. Check that it is a radiograph.",
    );
  }
}

export function unreadable(message: string): ReadError {
  return new ReadError("UnreadableImageError", message);
}

export function damaged(title: string, reason: string): ReadError {
  return unreadable(
    `${title}: is damaged (${reason}). Copy it again from where it came, or leave it out.`,
  );
}

export const CUT_SHORT = "cut short: its end is missing";

export function truncated(title: string): ReadError {
  return damaged(title, CUT_SHORT);
}

export function animated(title: string): ReadError {
  return unreadable(
    `${title}: is an animation, and a radiograph is one image. Save its frame as a PNG.`,
  );
}

export function notGrayOrRgb(title: string, mode: string): ReadError {
  return unreadable(
    `${title}: is ${mode}, not gray or RGB with 8 bits. ` +
      "Convert it to 8-bit gray, or send the DICOM file.",
  );
}

/** Tell whether an error means that there is no memory for the picture. */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof RangeError && /allocation failed|out of memory/i.test(error.message);
}

export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}
