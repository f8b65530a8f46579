/** Where the picture lies: what must hold however a person zooms and pans. */

import { expect, test } from "vitest";
import { around, fitted, moved, type Place, zoomAt } from "../../src/page/drawing/place";

const PICTURE = { width: 1400, height: 1100 };
const VIEWER = { width: 700, height: 800 };

const shownAt = (place: Place, x: number, y: number) => [
  x * place.scale + place.left,
  y * place.scale + place.top,
];

test("a fitted picture touches two sides and lies in the middle", () => {
  expect(fitted(PICTURE, VIEWER)).toEqual({ scale: 0.5, left: 0, top: 125 });
});

test("zooming keeps what lies under the pointer there, and back again is where it was", () => {
  const before = fitted(PICTURE, VIEWER);
  const at = { x: 200, y: 300 };
  const near = zoomAt(before, 1.7, at, PICTURE, VIEWER);
  const [x, y] = [(at.x - before.left) / before.scale, (at.y - before.top) / before.scale];
  const [shownX, shownY] = shownAt(near, x, y);
  expect(shownX).toBeCloseTo(at.x, 9);
  expect(shownY).toBeCloseTo(at.y, 9);
  const back = zoomAt(near, 1 / 1.7, at, PICTURE, VIEWER);
  expect(back.left).toBeCloseTo(before.left, 9);
});

test("zoom has an end in both directions", () => {
  const at = { x: 350, y: 400 };
  let place = fitted(PICTURE, VIEWER);
  for (let n = 0; n < 99; n++) place = zoomAt(place, 2, at, PICTURE, VIEWER);
  expect(place.scale).toBe(32);
  for (let n = 0; n < 99; n++) place = zoomAt(place, 0.5, at, PICTURE, VIEWER);
  expect(place.scale).toBe(0.25);
});

test.each([
  [9999, 9999],
  [-9999, -9999],
  [9999, -9999],
])("a picture moved by %d, %d is still in sight", (x, y) => {
  const place = moved(fitted(PICTURE, VIEWER), { x, y }, PICTURE, VIEWER);
  const [left, top] = shownAt(place, 0, 0);
  const [right, bottom] = shownAt(place, PICTURE.width, PICTURE.height);
  expect(left).toBeLessThan(VIEWER.width);
  expect(top).toBeLessThan(VIEWER.height);
  expect(right).toBeGreaterThan(0);
  expect(bottom).toBeGreaterThan(0);
});

test("a region that is zoomed to lies in the middle, whole", () => {
  const box = { x: 1000, y: 100, width: 200, height: 100 };
  const place = around(box, PICTURE, VIEWER);
  const [left, top] = shownAt(place, box.x, box.y);
  const [right, bottom] = shownAt(place, box.x + box.width, box.y + box.height);
  expect((left + right) / 2).toBeCloseTo(350, 9);
  expect((top + bottom) / 2).toBeCloseTo(400, 9);
  expect(left).toBeGreaterThan(0);
  expect(right).toBeLessThan(VIEWER.width);
});
