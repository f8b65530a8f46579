/** The tables of ModalityLUTSequence and VOILUTSequence. Source: DICOM PS3.3, C.11.1 and C.11.2. */

import type { DataSet } from "dicom-parser";
import type { Tags } from "./tags";
import { EXPLICIT_BIG_ENDIAN } from "./transferSyntax";

const DESCRIPTOR = "x00283002";
const DATA = "x00283006";

export const MODALITY_DEPTHS = [8, 16];
export const VOI_DEPTHS = [8, 10, 11, 12, 13, 14, 15, 16];

export interface Lookup {
  /** The value that the first entry stands for. */
  first: number;
  /** Of an entry. */
  bits: number;
  entries: Uint16Array;
}

/** @throws RangeError the table is missing, too short, or of a depth that has no meaning. */
export function readLookup(item: DataSet, tags: Tags, depths: readonly number[]): Lookup {
  const descriptor = item.elements[DESCRIPTOR];
  const data = item.elements[DATA];
  if (!descriptor || descriptor.length < 6 || !data) throw new RangeError("no table");
  const isBig = tags.syntax === EXPLICIT_BIG_ENDIAN;
  const bytes = item.byteArray as Uint8Array;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number) => view.getUint16(at, !isBig);
  const nEntries = word(descriptor.dataOffset) || 2 ** 16;
  // US or SS: the explicit VR says which, or else the sign of the pixels (PS3.3, C.11.1.1).
  const isSigned = descriptor.vr ? descriptor.vr === "SS" : tags.isSigned;
  const firstWord = word(descriptor.dataOffset + 2);
  const first = isSigned && firstWord >= 2 ** 15 ? firstWord - 2 ** 16 : firstWord;
  const bits = word(descriptor.dataOffset + 4);
  if (!depths.includes(bits)) throw new RangeError("a depth that no such table has");
  if (data.length < 2 * nEntries) throw new RangeError("a table that is too short");
  const entries = Uint16Array.from({ length: nEntries }, (_, i) => word(data.dataOffset + 2 * i));
  if (bits === 8 && entries.some((entry) => entry > 255)) throw new RangeError("too large entries");
  return { first, bits, entries };
}

/** Values outside the table take its first or last entry; fractions are cut off. */
export function throughLookup(values: Float64Array, { first, entries }: Lookup): Float64Array {
  const last = entries.length - 1;
  return values.map((value) => {
    const index = Math.min(Math.max(Math.trunc(value - first), 0), last);
    if (Number.isNaN(index)) throw new RangeError("no number");
    return entries[index];
  });
}
