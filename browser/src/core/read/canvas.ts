/** Let the browser decode a picture, and get at its values unchanged. */

import { unreadable } from "./refusals";

const TILE_PX = 2048; // canvases have limits of their own, and four bytes a pixel add up
const PROBE_PX = 64;

/**
 * Decode a picture to (height * width * 4) RGBA tiles.
 *
 * The picture lies on black. Profiles and EXIF must have been taken out of `parts` before:
 * browsers differ in what they do about them, whatever they are asked for.
 *
 * @param visit Called for each tile with its values and place.
 * @throws Error the browser cannot decode it.
 * @throws ReadError the browser changes what is read from a canvas.
 */
export async function decodeByBrowser(
  parts: BlobPart[],
  type: string,
  { width, height }: { width: number; height: number },
  visit: (values: Uint8ClampedArray, tile: Tile) => void,
): Promise<void> {
  checkCanvas();
  const bitmap = await createImageBitmap(new Blob(parts, { type }), {
    imageOrientation: "none",
    colorSpaceConversion: "none",
    premultiplyAlpha: "default",
  }).catch(() => {
    throw new Error("the browser cannot decode it"); // it says no more itself
  });
  try {
    if (bitmap.width !== width || bitmap.height !== height) {
      throw new Error("it decodes to another size than it claims");
    }
    for (const tile of tilesOf(width, height)) {
      const context = newContext(tile.width, tile.height);
      context.fillStyle = "#000";
      context.fillRect(0, 0, tile.width, tile.height);
      context.drawImage(bitmap, -tile.x, -tile.y);
      visit(context.getImageData(0, 0, tile.width, tile.height).data, tile);
    }
  } finally {
    bitmap.close();
  }
}

export interface Tile {
  x: number;
  y: number;
  width: number;
  height: number;
}

function* tilesOf(width: number, height: number): Generator<Tile> {
  for (let y = 0; y < height; y += TILE_PX) {
    for (let x = 0; x < width; x += TILE_PX) {
      yield { x, y, width: Math.min(TILE_PX, width - x), height: Math.min(TILE_PX, height - y) };
    }
  }
}

function newContext(width: number, height: number): OffscreenCanvasRenderingContext2D {
  const context = new OffscreenCanvas(width, height).getContext("2d", {
    // In memory, not on a graphics card: reading back is quick there, and exact.
    willReadFrequently: true,
    colorSpace: "srgb",
  });
  if (!context) throw new Error("this browser gives no canvas to a worker");
  return context;
}

let isFaithful: boolean | null = null;

/** Some browsers change what is read from a canvas, against recognition of the person. */
function checkCanvas(): void {
  isFaithful ??= probeCanvas();
  if (isFaithful) return;
  throw unreadable(
    "this browser changes the values that a page reads from a picture (a protection against " +
      "recognition). Allow this page to read canvas data, send a PNG or DICOM file, or use the " +
      "server.",
  );
}

function probeCanvas(): boolean {
  const context = newContext(PROBE_PX, PROBE_PX);
  const written = new ImageData(PROBE_PX, PROBE_PX);
  written.data.forEach((_, index) => {
    written.data[index] = index % 4 === 3 ? 255 : (index * 37) % 251;
  });
  context.putImageData(written, 0, 0);
  const read = context.getImageData(0, 0, PROBE_PX, PROBE_PX).data;
  return read.every((value, index) => value === written.data[index]);
}
