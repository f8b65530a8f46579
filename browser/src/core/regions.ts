/** Where the evidence is: boxes round the peaks of a map. The rule: detector/regions.py. */

import { toProbability } from "./logitScale";
import type { Calibration, EvidenceMap, Region } from "./types";

/** Cells along each side of the grid that a map is enlarged to. */
export const GRID_CELLS = 64;
const PEAK_SHARE = 0.5; // of the way from the operating point to the strongest evidence
const MIN_CELLS = 41; // 1 % of the grid; one position of a 7 x 7 map is 2 %

type Grid = Pick<EvidenceMap, "height" | "width"> & { values: ArrayLike<number> };

export interface RegionOptions {
  /** Of the whole radiograph, uncalibrated. */
  logit: number;
  /** The operating point on the same scale. */
  thresholdLogit: number;
  /** Rows of the file's own picture; boxes are in its pixels. */
  heightPx: number;
  widthPx: number;
  calibration: Pick<Calibration, "temperature" | "bias">;
}

interface Component {
  cells: number;
  top: number;
  bottom: number;
  left: number;
  right: number;
  strongest: number;
  hasPeak: boolean;
}

/** Return boxes round the strongest evidence, strongest first; none below the threshold. */
export function findRegions(map: Grid, options: RegionOptions): Region[] {
  const { logit, thresholdLogit, heightPx, widthPx, calibration } = options;
  if (logit < thresholdLogit) return [];
  const grid = enlarge({ ...map, values: localLogit(map.values, logit) });
  const peakCell = indexOfLargest(grid);
  const peak = grid[peakCell];
  const base = Number.isFinite(thresholdLogit) ? thresholdLogit : logit;
  const regions = findComponents(grid, base + PEAK_SHARE * (peak - base), peakCell)
    .filter((component) => component.hasPeak || component.cells >= MIN_CELLS)
    .map((component): Region => {
      const [left, right] = span(component.left, component.right + 1, widthPx);
      const [top, bottom] = span(component.top, component.bottom + 1, heightPx);
      return {
        x: left,
        y: top,
        width: right - left,
        height: bottom - top,
        score: toProbability(component.strongest, calibration),
      };
    });
  return regions.sort((a, b) => b.score - a.score || a.y - b.y || a.x - b.x);
}

/** Return evidence whose mean is the radiograph's logit. */
export function localLogit(values: ArrayLike<number>, logit: number): Float64Array {
  const local = Float64Array.from(values);
  const offset = logit - local.reduce((sum, value) => sum + value, 0) / local.length;
  return local.map((value) => value + offset);
}

/** Return (64 * 64) values, bilinearly between those given; step 2 of the rule. */
export function enlarge({ height, width, values }: Grid): Float64Array {
  const rows = interpolation(height);
  const columns = interpolation(width);
  const grid = new Float64Array(GRID_CELLS * GRID_CELLS);
  rows.forEach((row, y) => {
    const at = (column: number) =>
      (1 - row.fraction) * values[row.below * width + column] +
      row.fraction * values[row.above * width + column];
    columns.forEach((column, x) => {
      grid[y * GRID_CELLS + x] =
        (1 - column.fraction) * at(column.below) + column.fraction * at(column.above);
    });
  });
  return grid;
}

function interpolation(n: number): { below: number; above: number; fraction: number }[] {
  return Array.from({ length: GRID_CELLS }, (_, cell) => {
    const position = Math.min(Math.max(((cell + 0.5) * n) / GRID_CELLS - 0.5, 0), n - 1);
    const below = Math.floor(position);
    return { below, above: Math.min(below + 1, n - 1), fraction: position - below };
  });
}

function indexOfLargest(values: Float64Array): number {
  let best = 0;
  values.forEach((value, index) => {
    if (value > values[best]) best = index;
  });
  return best;
}

/** Return the components of cells at or above the level that share a side, in reading order. */
function findComponents(grid: Float64Array, level: number, peakCell: number): Component[] {
  const seen = new Uint8Array(grid.length);
  const components: Component[] = [];
  grid.forEach((value, start) => {
    if (value < level || seen[start]) return;
    const component = emptyComponent();
    const waiting = [start];
    seen[start] = 1;
    for (let cell = waiting.pop(); cell !== undefined; cell = waiting.pop()) {
      include(component, cell, grid[cell]);
      component.hasPeak ||= cell === peakCell;
      for (const next of neighbours(cell)) {
        if (seen[next] || grid[next] < level) continue;
        seen[next] = 1;
        waiting.push(next);
      }
    }
    components.push(component);
  });
  return components;
}

function emptyComponent(): Component {
  return {
    cells: 0,
    top: GRID_CELLS,
    bottom: -1,
    left: GRID_CELLS,
    right: -1,
    strongest: -Infinity,
    hasPeak: false,
  };
}

function include(component: Component, cell: number, value: number): void {
  const row = Math.floor(cell / GRID_CELLS);
  const column = cell % GRID_CELLS;
  component.cells += 1;
  component.top = Math.min(component.top, row);
  component.bottom = Math.max(component.bottom, row);
  component.left = Math.min(component.left, column);
  component.right = Math.max(component.right, column);
  component.strongest = Math.max(component.strongest, value);
}

function neighbours(cell: number): number[] {
  const column = cell % GRID_CELLS;
  const found: number[] = [];
  if (cell >= GRID_CELLS) found.push(cell - GRID_CELLS);
  if (column > 0) found.push(cell - 1);
  if (column < GRID_CELLS - 1) found.push(cell + 1);
  if (cell < GRID_CELLS * (GRID_CELLS - 1)) found.push(cell + GRID_CELLS);
  return found;
}

/** Return the whole pixels that cells `first` to `behind - 1` touch. */
function span(first: number, behind: number, nPx: number): [number, number] {
  return [Math.floor((first * nPx) / GRID_CELLS), Math.ceil((behind * nPx) / GRID_CELLS)];
}
