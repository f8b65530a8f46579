/** What a DICOM image's tags must say before its pixels are decoded; see imaging/dicom_tags.py. */

import type { DataSet } from "dicom-parser";
import type { ReadError } from "../../errors";
import { unreadable } from "../refusals";

// RF is read because fluoroscopy units take plain chest radiographs, too, and OT because secondary
// captures of radiographs are filed under it; DR is a common slip for DX.
const RADIOGRAPH_MODALITIES = ["CR", "DR", "DX", "OT", "RF", "RG"];
// Only a known term is quoted in a message: what else stands in the tag could be anything.
const OTHER_MODALITIES =
  "AU BI CT DOC ECG EPS ES GM HD IO IVUS KO LS MG MR NM OAM OP OPT PR PT PX REG RTDOSE RTIMAGE " +
  "RTPLAN RTSTRUCT SEG SM SR TG US XA XC";
const PHOTOMETRIC =
  "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT XYB";
const REQUIRED = {
  Rows: "x00280010",
  Columns: "x00280011",
  BitsAllocated: "x00280100",
  BitsStored: "x00280101",
  PixelRepresentation: "x00280103",
  SamplesPerPixel: "x00280002",
  PhotometricInterpretation: "x00280004",
} as const;
const UNITS_PER_YEAR: Record<string, number> = { Y: 1, M: 12, W: 365.25 / 7, D: 365.25 };

/** The facts that decoding needs, checked, and those that a radiograph states. */
export interface Tags {
  syntax: string;
  rows: number;
  columns: number;
  bitsAllocated: 8 | 16;
  bitsStored: number;
  isSigned: boolean;
  isInverted: boolean;
  /** The smallest and the largest stored value that fill up the rows beside the picture. */
  padding: [number, number] | null;
  isForProcessing: boolean;
  modality: string | null;
  viewPosition: string | null;
  sex: string | null;
  ageYears: number | null;
}

/** @throws ReadError it is not one gray frame of 8 to 16 bits. */
export function readTags(file: DataSet, title: string): Tags {
  if (!file.elements.x7fe00010) {
    throw refused(
      title,
      "has no pixel data (7FE0,0010)",
      "Send the image itself, not a report, a presentation state or a part of the file",
    );
  }
  const missing = Object.entries(REQUIRED).filter(([, tag]) => !file.elements[tag]?.length);
  if (missing.length) {
    const names = missing.map(([name]) => name).join(", ");
    throw refused(title, `lacks ${names}`, "Export it again, whole");
  }
  const number = (keyword: keyof typeof REQUIRED) => file.uint16(REQUIRED[keyword]) ?? 0;
  const [rows, columns] = [number("Rows"), number("Columns")];
  if (rows < 1 || columns < 1) {
    throw refused(title, "has no Rows or no Columns", "Export it again, whole");
  }
  const nFrames = text(file, "x00280008") === null ? 1 : file.intString("x00280008");
  if (nFrames === undefined || !Number.isInteger(nFrames)) {
    throw refused(title, "has a NumberOfFrames that is no number", "Export it again");
  }
  if (nFrames > 1) {
    throw refused(
      title,
      `has ${nFrames} frames, and a radiograph has one`,
      "Export the frame as an image of its own",
    );
  }
  const isInverted = checkPhotometric(file, number("SamplesPerPixel"), title);
  const [bitsAllocated, bitsStored] = [number("BitsAllocated"), number("BitsStored")];
  checkBits(bitsAllocated, bitsStored, file.uint16("x00280102"), title);
  const isSigned = number("PixelRepresentation") === 1;
  return {
    syntax: file.string("x00020010") ?? "",
    rows,
    columns,
    bitsAllocated: bitsAllocated === 8 ? 8 : 16,
    bitsStored,
    isSigned,
    isInverted,
    padding: readPadding(file, isSigned),
    isForProcessing: text(file, "x00080068") === "FOR PROCESSING",
    modality: text(file, "x00080060"),
    viewPosition: text(file, "x00185101"),
    sex: text(file, "x00100040"),
    ageYears: readAge(text(file, "x00101010")),
  };
}

/** @throws ReadError another kind of machine took it; one without a modality passes. */
export function checkModality(modality: string | null, title: string): void {
  if (modality === null || RADIOGRAPH_MODALITIES.includes(modality)) return;
  const known = OTHER_MODALITIES.split(" ").includes(modality)
    ? modality
    : "none of the standard's";
  throw refused(
    title,
    `has the Modality (0008,0060) ${known}, and a radiograph has one of ` +
      RADIOGRAPH_MODALITIES.join(", "),
    "Send the chest radiograph itself",
  );
}

/** @throws ReadError it holds the detector's own values, which no display was meant to show. */
export function checkIntent({ isForProcessing }: Tags, title: string): void {
  if (!isForProcessing) return;
  throw refused(
    title,
    "has the PresentationIntentType (0008,0068) FOR PROCESSING: the detector's raw values",
    "Send the image FOR PRESENTATION of the same radiograph",
  );
}

/** Return the error: which image, what is wrong, what to do. */
export function refused(title: string, fault: string, advice: string): ReadError {
  return unreadable(`${title}: ${fault}. ${advice}.`);
}

/** Return a one-word value in capitals, or null where it is absent or empty. */
function text(file: DataSet, tag: string): string | null {
  return file.string(tag)?.trim().toUpperCase() || null;
}

/** Source: DICOM PS3.3, C.7.5.1.1.2. */
function readPadding(file: DataSet, isSigned: boolean): [number, number] | null {
  // 16 bits with the pixels' sign, whatever sign the tags' own type (US or SS) gives them.
  const read = (tag: string) =>
    file.elements[tag]?.length === 2
      ? ((isSigned ? file.int16(tag) : file.uint16(tag)) ?? null)
      : null;
  const value = read("x00280120");
  if (value === null) return null;
  const limit = read("x00280121") ?? value;
  return [Math.min(value, limit), Math.max(value, limit)];
}

/** Read an Age String, such as "004Y" or "018M"; bare digits are years. */
function readAge(age: string | null): number | null {
  const match = /^(\d{1,3})([YMWD]?)$/.exec(age ?? "");
  return match ? Number(match[1]) / UNITS_PER_YEAR[match[2] || "Y"] : null;
}

function checkPhotometric(file: DataSet, nSamples: number, title: string): boolean {
  const photometric = file.string(REQUIRED.PhotometricInterpretation)?.trim() ?? "";
  if (nSamples === 1 && /^MONOCHROME[12]$/.test(photometric)) return photometric.endsWith("1");
  const isKnown = PHOTOMETRIC.split(" ").includes(photometric) || photometric === "PALETTE COLOR";
  throw refused(
    title,
    `is ${isKnown ? photometric : "of an unknown PhotometricInterpretation"} with ` +
      `${nSamples} samples a pixel, not a gray image`,
    "Send the original radiograph, MONOCHROME1 or MONOCHROME2",
  );
}

function checkBits(
  allocated: number,
  stored: number,
  highBit: number | undefined,
  title: string,
): void {
  if ((allocated !== 8 && allocated !== 16) || stored < 8 || stored > allocated) {
    throw refused(
      title,
      `stores ${stored} bits in ${allocated}, and 8 to 16 are read`,
      "Export it with 8 to 16 bits",
    );
  }
  if (highBit !== undefined && highBit !== stored - 1) {
    throw refused(
      title,
      `has HighBit ${highBit} with ${stored} bits stored, not one less`,
      "Export it again from where it came",
    );
  }
}
