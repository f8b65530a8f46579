/** Inflate what is compressed, never further than it may grow. */

import { Inflate, Unzlib } from "fflate";
import { CUT_SHORT } from "./refusals";

const STEP_BYTES = 1 << 16; // of the input: what one step can grow to stays small

/** The data inflate to more than they may. */
export class TooMuchError extends Error {}

/**
 * Inflate zlib data into exactly `nBytes`; what comes after them is not looked at.
 *
 * @throws Error the data are damaged, or end before.
 */
export function unzlibInto(parts: Uint8Array[], nBytes: number): Uint8Array<ArrayBuffer> {
  const inflated = new Uint8Array(nBytes);
  let n = 0;
  const inflater = new Unzlib((chunk) => {
    inflated.set(chunk.subarray(0, nBytes - n), n);
    n = Math.min(n + chunk.length, nBytes);
  });
  for (const step of inSteps(parts)) {
    if (n === nBytes) break;
    inflater.push(step);
  }
  if (n < nBytes) throw new Error(CUT_SHORT);
  return inflated;
}

/**
 * Inflate raw deflate data, as in a deflated DICOM file.
 *
 * @throws TooMuchError they inflate to more than `maxBytes`.
 * @throws Error the data are damaged.
 */
export function inflateAtMost(data: Uint8Array, maxBytes: number): Uint8Array[] {
  const chunks: Uint8Array[] = [];
  let n = 0;
  const inflater = new Inflate((chunk) => {
    n += chunk.length;
    if (n > maxBytes) throw new TooMuchError();
    chunks.push(chunk);
  });
  for (const step of inSteps([data])) inflater.push(step);
  return chunks;
}

function* inSteps(parts: Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts) {
    for (let start = 0; start < part.length; start += STEP_BYTES) {
      yield part.subarray(start, start + STEP_BYTES);
    }
  }
}
