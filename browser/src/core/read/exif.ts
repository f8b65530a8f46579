/** The one EXIF tag that changes a picture: its orientation. */

const ORIENTATION = 0x0112;
const SHORT = 3;
const LONG = 4;

/**
 * Return the orientation that a TIFF block states, 1 where there is none or it is damaged.
 *
 * Source: TIFF 6.0, section 2; Exif 2.32, section 4.6.4.
 */
export function readOrientation(tiff: Uint8Array): number {
  try {
    const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
    const order = view.getUint16(0);
    if (order !== 0x4949 && order !== 0x4d4d) return 1;
    const isLittle = order === 0x4949;
    const directory = view.getUint32(4, isLittle);
    const nEntries = view.getUint16(directory, isLittle);
    for (let index = 0; index < nEntries; index++) {
      const entry = directory + 2 + 12 * index;
      if (view.getUint16(entry, isLittle) !== ORIENTATION) continue;
      const type = view.getUint16(entry + 2, isLittle);
      if (type === SHORT) return view.getUint16(entry + 8, isLittle);
      return type === LONG ? view.getUint32(entry + 8, isLittle) : 1;
    }
    return 1;
  } catch {
    return 1; // a damaged note about a picture is no reason to refuse the picture
  }
}
