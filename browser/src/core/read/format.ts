/** The first bytes decide what a file is, not its name. */

export type Format = "DICOM" | "JPEG" | "PNG" | "BMP" | "WebP" | "GIF" | "TIFF";

const SIGNATURES: [Format, number[]][] = [
  ["JPEG", [0xff, 0xd8, 0xff]],
  ["PNG", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ["BMP", [0x42, 0x4d]],
  ["GIF", [0x47, 0x49, 0x46, 0x38]],
  ["TIFF", [0x49, 0x49, 0x2a, 0x00]],
  ["TIFF", [0x4d, 0x4d, 0x00, 0x2a]],
  ["TIFF", [0x49, 0x49, 0x2b, 0x00]],
  ["TIFF", [0x4d, 0x4d, 0x00, 0x2b]],
];
const RIFF = [0x52, 0x49, 0x46, 0x46];
const WEBP = [0x57, 0x45, 0x42, 0x50];
const DICM = [0x44, 0x49, 0x43, 0x4d];
const PREAMBLE_BYTES = 128; // PS3.10, section 7.1

/** Return the format, or null where the first bytes are of none that is known. */
export function detectFormat(bytes: Uint8Array): Format | null {
  if (isDicom(bytes)) return "DICOM";
  if (hasAt(bytes, 0, RIFF) && hasAt(bytes, 8, WEBP)) return "WebP";
  return SIGNATURES.find(([, signature]) => hasAt(bytes, 0, signature))?.[0] ?? null;
}

export function isDicom(bytes: Uint8Array): boolean {
  return hasAt(bytes, PREAMBLE_BYTES, DICM);
}

function hasAt(bytes: Uint8Array, position: number, expected: number[]): boolean {
  return expected.every((byte, index) => bytes[position + index] === byte);
}
