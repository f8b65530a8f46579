/** The two pictures that a scene is made of, each painted anew only when what it shows changes. */

import type { Prediction } from "../../core";
import { colourEvidence, type SmoothEvidence, smoothEvidence, spanOf } from "./evidence";
import { type GrayPicture, type GrayWindow, levelsOf, paintGray } from "./gray";

/** Return a canvas of the picture's own size, in the window's gray. */
export function paintPicture(picture: GrayPicture, window: GrayWindow): HTMLCanvasElement {
  return paint(picture, paintGray(picture.pixels, levelsOf(window)));
}

/** Return a canvas with the colours of the evidence, to be drawn at the chosen opacity. */
export function paintEvidence(prediction: Prediction): HTMLCanvasElement {
  const smooth = smoothOf(prediction);
  return paint(smooth, colourEvidence(smooth.values, spanOf(prediction)));
}

/** Return `make`, except that asked the same as last time it gives the same again. */
export function rememberingLast<A extends unknown[], R>(make: (...asked: A) => R) {
  let last: { asked: A; given: R } | null = null;
  return (...asked: A): R => {
    if (last === null || asked.some((each, at) => each !== last?.asked[at])) {
      last = { asked, given: make(...asked) };
    }
    return last.given;
  };
}

// The same evidence is coloured anew for each operating point, but enlarged only once.
const smoothOf = (() => {
  let last: { values: Float32Array; smooth: SmoothEvidence } | null = null;
  return (prediction: Prediction): SmoothEvidence => {
    const { values } = prediction.map; // an answer at another operating point shares them
    if (last?.values !== values) last = { values, smooth: smoothEvidence(prediction) };
    return last.smooth;
  };
})();

function paint(
  { height, width }: { height: number; width: number },
  rgba: Uint8ClampedArray<ArrayBuffer>,
): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.putImageData(new ImageData(rgba, width, height), 0, 0);
  return canvas;
}
