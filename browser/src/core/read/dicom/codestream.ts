/** What a JPEG 2000 says of itself; repeats imaging/codestream.py. Source: ITU-T T.800, annex A. */

const START = [0xff, 0x4f, 0xff, 0x51]; // start of codestream, then size

/** The byte with the first component's depth; its highest bit says that samples are signed. */
export const SIGN_AT = 42;

export interface Jpeg2000Header {
  width: number;
  height: number;
  bits: number;
  components: number;
  isSigned: boolean;
}

/**
 * Return the codestream, without the boxes of a JP2 file where there are any.
 *
 * @throws Error there is none.
 */
export function findJpeg2000(data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  for (let at = data.indexOf(0xff); at >= 0; at = data.indexOf(0xff, at + 1)) {
    if (START.every((byte, index) => data[at + index] === byte)) return data.subarray(at);
  }
  throw new Error("it does not begin as a JPEG 2000 does");
}

/** @throws Error the header is cut short, or its image is not one whole from the grid's origin. */
export function readJpeg2000Header(data: Uint8Array): Jpeg2000Header {
  if (data.length < 45) throw new Error("its JPEG 2000 header is cut short");
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [left, top] = [view.getUint32(16), view.getUint32(20)];
  if (left || top || view.getUint8(43) !== 1 || view.getUint8(44) !== 1) {
    throw new Error("its JPEG 2000 image does not begin at the grid's origin");
  }
  return {
    width: view.getUint32(8),
    height: view.getUint32(12),
    bits: (view.getUint8(SIGN_AT) & 0x7f) + 1,
    components: view.getUint16(40),
    isSigned: view.getUint8(SIGN_AT) >= 0x80,
  };
}
