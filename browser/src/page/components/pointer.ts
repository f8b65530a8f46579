/** Drag, wheel and fingers on the radiograph. */

import type { Point } from "../drawing/place";
import { changeWindow, pan, tool, zoom } from "../state/viewer";

/** Listen to a canvas; the function that is returned stops it. */
export function listenToPointer(canvas: HTMLCanvasElement): () => void {
  const fingers = new Map<number, Point>();
  let usesOtherTool = false;
  const ears = new AbortController();
  const { signal } = ears;

  canvas.addEventListener(
    "pointerdown",
    (event) => {
      canvas.parentElement?.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, within(canvas, event));
      usesOtherTool = event.button === 2 || event.shiftKey;
    },
    { signal },
  );
  canvas.addEventListener(
    "pointermove",
    (event) => {
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = within(canvas, event);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      const by = { x: now.x - before.x, y: now.y - before.y };
      if (other) {
        zoom(distance(now, other) / Math.max(1, distance(before, other)), other);
        pan(by.x / 2, by.y / 2);
      } else if ((tool.value === "pan") !== usesOtherTool) {
        pan(by.x, by.y);
      } else {
        changeWindow(by.x, -by.y);
      }
    },
    { signal },
  );
  for (const end of ["pointerup", "pointercancel"] as const) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId), { signal });
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // Wheels report lines or pixels, many or few; the exponent makes all of them smooth.
      const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
      zoom(Math.exp(-Math.max(-120, Math.min(120, pixels)) / 400), within(canvas, event));
    },
    { signal, passive: false },
  );
  return () => ears.abort();
}

function within(canvas: HTMLCanvasElement, event: MouseEvent): Point {
  const { left, top } = canvas.getBoundingClientRect();
  return { x: event.clientX - left, y: event.clientY - top };
}

function distance(a: Point, b: Point): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}
