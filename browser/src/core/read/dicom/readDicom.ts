/** Read a radiograph from a DICOM file; repeats imaging/read_dicom.py. */

import dicomParser, { type DataSet } from "dicom-parser";
import { PneumoscopeError, ReadError } from "../../errors";
import type { Radiograph } from "../../types";
import { inflateAtMost, TooMuchError } from "../inflate";
import { checkSize, grouped, isOutOfMemory, MAX_PIXELS } from "../refusals";
import type { Codecs } from "./codecs";
import { toDisplayValues } from "./display";
import { decodeFrame } from "./frame";
import { checkIntent, checkModality, readTags, refused, type Tags } from "./tags";
import { COMPRESSED, EXPLICIT_BIG_ENDIAN, LOSSLESS, NATIVE, syntaxName } from "./transferSyntax";

const PIXEL_DATA = "x7fe00010";
const HEADER_BYTES = 2 ** 24; // more than the elements beside the pixels ever need

/** @throws ReadError not DICOM, damaged, not one gray radiograph, or of a syntax not decoded. */
export async function readDicom(
  bytes: Uint8Array<ArrayBuffer>,
  title: string,
  codecs: Codecs,
): Promise<Radiograph> {
  try {
    const file = parse(bytes, title);
    const tags = readTags(file, title);
    checkModality(tags.modality, title);
    checkIntent(tags, title);
    checkSize(title, tags.columns, tags.rows);
    const stored = await readStoredValues(file, tags, title, codecs);
    return {
      pixels: toDisplayValues(stored, file, tags, title),
      width: tags.columns,
      height: tags.rows,
      isColour: false,
      modality: tags.modality,
      viewPosition: tags.viewPosition,
      sex: tags.sex,
      ageYears: tags.ageYears,
    };
  } catch (error) {
    if (error instanceof PneumoscopeError || isOutOfMemory(error)) throw error;
    // The parser's words stay out of ours, because they may quote a patient's tags.
    throw refused(
      title,
      "is not a DICOM file that can be read",
      "Export it again from where it came, or leave it out",
    );
  }
}

function parse(bytes: Uint8Array<ArrayBuffer>, title: string): DataSet {
  const meta = dicomParser.readPart10Header(bytes);
  if (!meta.string("x00020010")) {
    throw refused(title, "lacks TransferSyntaxUID (0002,0010)", "Export it again, whole");
  }
  const inflater = (whole: Uint8Array, position: number) => inflateFile(whole, position, title);
  // Only up to the pixels: the parser reads on through those that are compressed, and refuses a
  // file that is cut short within them before it can be said what is wrong.
  const file = dicomParser.parseDicom(bytes, { inflater, untilTag: PIXEL_DATA });
  const isWhole = !file.elements[PIXEL_DATA]?.hadUndefinedLength;
  return isWhole ? file : dicomParser.parseDicom(bytes, { inflater });
}

function inflateFile(whole: Uint8Array, position: number, title: string): Uint8Array {
  const limit = 2 * MAX_PIXELS + HEADER_BYTES; // 16 bits a pixel
  try {
    const chunks = inflateAtMost(whole.subarray(position), limit);
    const nBytes = chunks.reduce((sum, chunk) => sum + chunk.length, position);
    const file = new Uint8Array(nBytes);
    file.set(whole.subarray(0, position));
    let end = position;
    for (const chunk of chunks) {
      file.set(chunk, end);
      end += chunk.length;
    }
    return file;
  } catch (error) {
    if (!(error instanceof TooMuchError)) throw error;
    throw new ReadError(
      "ImageTooLargeError",
      `${title}: inflates to more than the ${grouped(limit)} bytes that are read at most. ` +
        "Check that it is a radiograph, or export it uncompressed.",
    );
  }
}

async function readStoredValues(
  file: DataSet,
  tags: Tags,
  title: string,
  codecs: Codecs,
): Promise<Int32Array> {
  const { syntax } = tags;
  if (NATIVE.has(syntax)) return readNativeValues(file, tags, title);
  if (!COMPRESSED.has(syntax)) {
    throw refused(
      title,
      `has the transfer syntax ${syntaxName(syntax)}, which is not decoded here`,
      "Convert it to Explicit VR Little Endian, for example with dcmdjpeg or gdcmconv --raw",
    );
  }
  try {
    const values = await decodeFrame(readFragments(file), tags, codecs);
    // What was lossy may lie a little above the bits stored: that is part of the value.
    return LOSSLESS.has(syntax) ? cutToStored(values, tags) : values;
  } catch (error) {
    if (error instanceof PneumoscopeError || isOutOfMemory(error)) throw error;
    const reason = error instanceof Error ? error.message.split("\n")[0] : "its decoder failed";
    throw refused(
      title,
      `has pixel data (${syntaxName(syntax)}) that cannot be decoded: ${reason}`,
      "Export it again from where it came, uncompressed if that can be chosen",
    );
  }
}

/** Return the one frame, its fragments joined. */
function readFragments(file: DataSet): Uint8Array<ArrayBuffer> {
  const { fragments } = file.elements[PIXEL_DATA];
  if (!fragments?.length) throw new Error("its fragments are missing");
  const nBytes = fragments.reduce((sum, { length }) => sum + length, 0);
  const frame = new Uint8Array(nBytes);
  let end = 0;
  for (const { position, length } of fragments) {
    if (position + length > file.byteArray.length) throw new Error("it is cut short");
    frame.set(file.byteArray.subarray(position, position + length), end);
    end += length;
  }
  return frame;
}

function readNativeValues(file: DataSet, tags: Tags, title: string): Int32Array {
  const { bitsAllocated, syntax } = tags;
  const nPixels = tags.rows * tags.columns;
  const nBytes = bitsAllocated / 8;
  const { dataOffset, length, vr } = file.elements[PIXEL_DATA];
  const available = Math.min(length, file.byteArray.length - dataOffset);
  if (available < nPixels * nBytes) {
    throw refused(
      title,
      `has ${grouped(available)} bytes of pixel data where its tags promise ` +
        grouped(nPixels * nBytes),
      "It was cut short: copy it again from where it came",
    );
  }
  const bytes = file.byteArray.subarray(dataOffset, dataOffset + available);
  const isBig = syntax === EXPLICIT_BIG_ENDIAN;
  // Bytes in 16-bit words, each of them turned round (PS3.5, A.3).
  const isTurned = isBig && nBytes === 1 && vr === "OW";
  const values = new Int32Array(nPixels);
  for (let index = 0; index < nPixels; index++) {
    values[index] =
      nBytes === 1
        ? bytes[isTurned ? index ^ 1 : index]
        : bytes[2 * index + (isBig ? 1 : 0)] | (bytes[2 * index + (isBig ? 0 : 1)] << 8);
  }
  return cutToStored(values, tags);
}

/**
 * Return the values, changed in place, without the bits above those stored (BitsStored).
 *
 * These are no part of the value: old files hide overlays there, or leave out a number's sign.
 */
function cutToStored(values: Int32Array, { bitsStored, isSigned }: Tags): Int32Array {
  const mask = 2 ** bitsStored - 1;
  const signBit = isSigned ? 2 ** (bitsStored - 1) : Number.POSITIVE_INFINITY;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] & mask;
    values[index] = value >= signBit ? value - mask - 1 : value;
  }
  return values;
}
