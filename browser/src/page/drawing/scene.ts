/** Draw the radiograph, its evidence and its regions on a canvas, on the screen or for paper. */

import type { Region } from "../../core";
import type { Place, Size } from "./place";

export interface Scene {
  /** Of the canvas, in CSS pixels. */
  size: Size;
  /** Device pixels in a CSS pixel. */
  pixelRatio: number;
  place: Place;
  /** In pixels of the file's own picture. */
  picture: Size;
  gray: HTMLCanvasElement;
  /** null where the overlay is off. */
  evidence: HTMLCanvasElement | null;
  opacity: number;
  regions: readonly Region[];
  /** Which region a person points at; null for none. */
  pointed: number | null;
}

const FONT = "600 12px 'Plex', sans-serif";
const POINTED = "#6fd3e3";

/** Draw a scene. The canvas' own size follows the scene's. */
export function drawScene(canvas: HTMLCanvasElement, scene: Scene): void {
  const { size, pixelRatio, place, picture, gray, evidence, opacity } = scene;
  const width = Math.max(1, Math.round(size.width * pixelRatio));
  const height = Math.max(1, Math.round(size.height * pixelRatio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(pixelRatio, 0, 0, pixelRatio, 0, 0);
  context.clearRect(0, 0, size.width, size.height);
  context.imageSmoothingQuality = "high";
  const shown = [
    place.left,
    place.top,
    picture.width * place.scale,
    picture.height * place.scale,
  ] as const;
  context.drawImage(gray, ...shown);
  if (evidence) {
    context.globalAlpha = opacity;
    context.drawImage(evidence, ...shown);
    context.globalAlpha = 1;
  }
  // The strongest comes first, and is drawn last so that its tag lies on top.
  for (let at = scene.regions.length - 1; at >= 0; at--) {
    drawRegion(context, scene.regions[at], place, at === scene.pointed);
  }
}

function drawRegion(
  context: CanvasRenderingContext2D,
  region: Region,
  place: Place,
  isPointed: boolean,
): void {
  const left = Math.round(region.x * place.scale + place.left) + 0.5;
  const top = Math.round(region.y * place.scale + place.top) + 0.5;
  const width = Math.round(region.width * place.scale) - 1;
  const height = Math.round(region.height * place.scale) - 1;
  // White on black is seen on any gray and on any colour of the evidence.
  for (const [colour, line] of [
    ["black", isPointed ? 6 : 4],
    [isPointed ? POINTED : "white", isPointed ? 3 : 1.5],
  ] as const) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(left, top, width, height);
  }
  const text = region.score.toFixed(2);
  context.font = FONT;
  context.textBaseline = "middle";
  const tag = context.measureText(text).width + 10;
  context.fillStyle = "black";
  context.fillRect(left + 1, top + 1, tag, 18);
  context.fillStyle = isPointed ? POINTED : "white";
  context.fillText(text, left + 6, top + 10.5);
}
