/** The radiograph's gray: window, level, inversion, and a small copy for lists and paper. */

/** What of the display values is shown from black to white. */
export interface GrayWindow {
  /** Display value in the middle of the window. */
  centre: number;
  /** Display values from black to white; at least 1. */
  width: number;
  isInverted: boolean;
}

export const WHOLE_WINDOW: GrayWindow = { centre: 127.5, width: 255, isInverted: false };

/** A gray picture: (height * width) display values. */
export interface GrayPicture {
  pixels: Uint8Array<ArrayBuffer>;
  height: number;
  width: number;
}

/** Return 256 gray levels, one for each display value. */
export function levelsOf({
  centre,
  width,
  isInverted,
}: GrayWindow): Uint8ClampedArray<ArrayBuffer> {
  const levels = new Uint8ClampedArray(256);
  for (let value = 0; value < 256; value++) {
    const shown = ((value - centre) / width + 0.5) * 255;
    levels[value] = isInverted ? 255 - shown : shown;
  }
  return levels;
}

/** Return (n * 4) opaque red, green, blue, alpha for n display values. */
export function paintGray(
  pixels: Uint8Array,
  levels: Uint8ClampedArray,
): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(4 * pixels.length);
  // One 32-bit word a pixel is several times quicker than four bytes; the order of the bytes in it
  // doesn't matter for gray but for alpha, the last byte, which little-endian machines keep highest.
  const words = new Uint32Array(out.buffer);
  const table = Uint32Array.from(levels, (level) => 0xff000000 | (level * 0x010101));
  for (let at = 0; at < pixels.length; at++) words[at] = table[pixels[at]];
  return out;
}

/** Return the picture with blocks averaged, so that no side is longer than `maxSidePx`. */
export function reducePicture(picture: GrayPicture, maxSidePx: number): GrayPicture {
  const step = Math.ceil(Math.max(picture.height, picture.width) / maxSidePx);
  if (step <= 1) return picture;
  const height = Math.ceil(picture.height / step);
  const width = Math.ceil(picture.width / step);
  const pixels = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const top = row * step;
    const bottom = Math.min(picture.height, top + step);
    for (let column = 0; column < width; column++) {
      const left = column * step;
      const right = Math.min(picture.width, left + step);
      let sum = 0;
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) sum += picture.pixels[y * picture.width + x];
      }
      pixels[row * width + column] = Math.round(sum / ((bottom - top) * (right - left)));
    }
  }
  return { pixels, height, width };
}
