/** How a DICOM file's pixels are written. Source: PS3.5, section 10 and PS3.6, annex A. */

export const EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2";
export const RLE = "1.2.840.10008.1.2.5";

const NATIVE_NAMES: Record<string, string> = {
  "1.2.840.10008.1.2": "Implicit VR Little Endian",
  "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
  "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
  [EXPLICIT_BIG_ENDIAN]: "Explicit VR Big Endian",
};

/** Which decoder a compressed syntax wants. */
export type Coding = "jpeg" | "jpeg-lossless" | "jpeg-ls" | "jpeg-2000" | "rle";

const CODED: Record<string, [Coding, string]> = {
  "1.2.840.10008.1.2.4.50": ["jpeg", "JPEG Baseline"],
  "1.2.840.10008.1.2.4.51": ["jpeg", "JPEG Extended"],
  "1.2.840.10008.1.2.4.57": ["jpeg-lossless", "JPEG Lossless"],
  "1.2.840.10008.1.2.4.70": ["jpeg-lossless", "JPEG Lossless, first order"],
  "1.2.840.10008.1.2.4.80": ["jpeg-ls", "JPEG-LS Lossless"],
  "1.2.840.10008.1.2.4.81": ["jpeg-ls", "JPEG-LS near-lossless"],
  "1.2.840.10008.1.2.4.90": ["jpeg-2000", "JPEG 2000 lossless"],
  "1.2.840.10008.1.2.4.91": ["jpeg-2000", "JPEG 2000"],
  "1.2.840.10008.1.2.4.201": ["jpeg-2000", "High-Throughput JPEG 2000 lossless"],
  "1.2.840.10008.1.2.4.202": ["jpeg-2000", "High-Throughput JPEG 2000 lossless, RPCL"],
  "1.2.840.10008.1.2.4.203": ["jpeg-2000", "High-Throughput JPEG 2000"],
  [RLE]: ["rle", "RLE Lossless"],
};

export const NATIVE: ReadonlySet<string> = new Set(Object.keys(NATIVE_NAMES));
export const COMPRESSED: ReadonlySet<string> = new Set(Object.keys(CODED));

/** Compressed without loss: every bit of a value is the one that was stored. */
export const LOSSLESS: ReadonlySet<string> = new Set([
  ...["57", "70", "80", "90", "201", "202"].map((last) => `1.2.840.10008.1.2.4.${last}`),
  RLE,
]);

/** Return the decoder of one of `COMPRESSED`. */
export function codingOf(syntax: string): Coding {
  return CODED[syntax][0];
}

/** Return a syntax's name. One that is not the standard's could be anything and is not quoted. */
export function syntaxName(syntax: string): string {
  const name = NATIVE_NAMES[syntax] ?? CODED[syntax]?.[1];
  if (name) return name;
  return /^1\.2\.840\.10008\.1\.2(\.\d{1,3}){1,3}$/.test(syntax)
    ? `(${syntax})`
    : "of its own kind";
}
