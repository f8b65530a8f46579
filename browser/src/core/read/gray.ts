/** One gray channel out of three, transparency, and turning: the same for every picture format. */

import type { Radiograph } from "../types";

const COLOUR_SPREAD = 24; // gray levels between channels; the chroma noise of JPEG stays below it
const COLOUR_SHARE = 0.01; // of the pixels: a coloured letter does not make a photograph

/** A picture as its decoder gives it, row by row and upright or not. */
export interface Picture {
  /** (height * width * channels), gray or RGB. */
  samples: Uint8Array<ArrayBuffer>;
  channels: 1 | 3;
  width: number;
  height: number;
  /** EXIF orientation, 1 to 8; anything else counts as 1. */
  orientation: number;
}

/** Return the Rec. 601 luma in integers: step 4 of docs/reading.md. */
export function luma(red: number, green: number, blue: number): number {
  return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16;
}

/** Lay a channel's value on black; both are 0 to 255. */
export function onBlack(value: number, alpha: number): number {
  return Math.floor((2 * value * alpha + 255) / 510);
}

/** Return the picture as gray display values, upright. */
export function toRadiograph(picture: Picture): Radiograph {
  const { samples, channels } = picture;
  const gray = channels === 1 ? samples : toGray(samples);
  return {
    ...turn(gray, picture),
    isColour: channels === 3 && isColour(samples),
    modality: null,
    viewPosition: null,
    sex: null,
    ageYears: null,
  };
}

function toGray(samples: Uint8Array): Uint8Array<ArrayBuffer> {
  const gray = new Uint8Array(samples.length / 3);
  for (let index = 0, at = 0; index < gray.length; index++, at += 3) {
    gray[index] = luma(samples[at], samples[at + 1], samples[at + 2]);
  }
  return gray;
}

function isColour(samples: Uint8Array): boolean {
  const counts = [0, 0, 0];
  for (let at = 0; at < samples.length; at += 3) {
    const red = samples[at];
    const green = samples[at + 1];
    const blue = samples[at + 2];
    if (Math.abs(red - green) > COLOUR_SPREAD) counts[0]++;
    if (Math.abs(green - blue) > COLOUR_SPREAD) counts[1]++;
    if (Math.abs(blue - red) > COLOUR_SPREAD) counts[2]++;
  }
  return Math.max(...counts) > COLOUR_SHARE * (samples.length / 3);
}

/** Apply the EXIF orientation (Exif 2.32, tag 0x0112). */
function turn(
  pixels: Uint8Array<ArrayBuffer>,
  { width, height, orientation }: Picture,
): Pick<Radiograph, "pixels" | "width" | "height"> {
  if (!(orientation >= 2 && orientation <= 8)) return { pixels, width, height };
  const isSwapped = orientation >= 5;
  const [newWidth, newHeight] = isSwapped ? [height, width] : [width, height];
  const turned = new Uint8Array(pixels.length);
  // Where the upright picture's first pixel lies in the stored one, and the steps from there.
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBelow = [3, 4, 6, 7].includes(orientation);
  const first = (fromRight ? width - 1 : 0) + (fromBelow ? (height - 1) * width : 0);
  const right = fromRight ? -1 : 1;
  const down = fromBelow ? -width : width;
  const [stepX, stepY] = isSwapped ? [down, right] : [right, down];
  for (let y = 0, to = 0; y < newHeight; y++) {
    for (let x = 0, from = first + y * stepY; x < newWidth; x++, from += stepX) {
      turned[to++] = pixels[from];
    }
  }
  return { pixels: turned, width: newWidth, height: newHeight };
}
