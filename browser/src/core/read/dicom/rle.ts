/** Decode DICOM's RLE Lossless; repeats imaging/rle.py. Source: DICOM PS3.5, annex G. */

const HEADER_BYTES = 64;

/**
 * Return unsigned values of `nBytes` (1 or 2) each. A damaged or hostile segment never becomes
 * longer than the image.
 *
 * @throws Error damaged, cut short, or not one segment for each byte of a value.
 */
export function decodeRle(data: Uint8Array, nPixels: number, nBytes: number): Uint16Array {
  if (data.length < HEADER_BYTES) throw new Error("its RLE header is cut short");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (view.getUint32(0, true) !== nBytes) {
    throw new Error("its RLE header has not one segment for each byte of a value");
  }
  const values = new Uint16Array(nPixels);
  for (let segment = 1; segment <= nBytes; segment++) {
    const start = view.getUint32(4 * segment, true);
    const end = segment === nBytes ? data.length : view.getUint32(4 * (segment + 1), true);
    if (start < HEADER_BYTES || start > end || end > data.length) {
      throw new Error("its RLE header points outside the data");
    }
    unpackInto(values, data.subarray(start, end)); // the high byte's segment is first
  }
  return values;
}

function unpackInto(values: Uint16Array, segment: Uint8Array): void {
  let [done, position] = [0, 0];
  while (done < values.length) {
    if (position + 1 >= segment.length) throw new Error("it is cut short");
    const control = segment[position++];
    if (control === 128) continue;
    const isRun = control > 128; // one byte, repeated; else so many bytes and one more
    const n = Math.min(isRun ? 257 - control : control + 1, values.length - done);
    if (!isRun && position + n > segment.length) throw new Error("it is cut short");
    for (let index = 0; index < n; index++, done++) {
      values[done] = (values[done] << 8) | segment[isRun ? position : position + index];
    }
    position += isRun ? 1 : control + 1;
  }
}
