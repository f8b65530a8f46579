/**
 * Bicubic enlargement exactly as Pillow does it, with which imaging/overlay.py smooths a map.
 * Source: Keys (1981), IEEE Trans. ASSP 29(6), with a = -0.5; edges are renormalised, not repeated.
 */

interface Taps {
  first: number;
  weights: Float64Array;
}

/**
 * Enlarge row-by-row values.
 *
 * @param values (height * width)
 * @returns (outHeight * outWidth)
 */
export function resampleBicubic(
  values: Float32Array,
  { height, width }: { height: number; width: number },
  { height: outHeight, width: outWidth }: { height: number; width: number },
): Float32Array<ArrayBuffer> {
  const across = tapsAlong(width, outWidth);
  const wide = new Float32Array(height * outWidth);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < outWidth; column++) {
      const { first, weights } = across[column];
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) {
        sum += weights[tap] * values[row * width + first + tap];
      }
      wide[row * outWidth + column] = sum;
    }
  }
  const out = new Float32Array(outHeight * outWidth);
  tapsAlong(height, outHeight).forEach(({ first, weights }, row) => {
    for (let column = 0; column < outWidth; column++) {
      let sum = 0;
      for (let tap = 0; tap < weights.length; tap++) {
        sum += weights[tap] * wide[(first + tap) * outWidth + column];
      }
      out[row * outWidth + column] = sum;
    }
  });
  return out;
}

function tapsAlong(n: number, nOut: number): Taps[] {
  const scale = n / nOut;
  const stretch = Math.max(1, scale);
  const support = 2 * stretch;
  return Array.from({ length: nOut }, (_, index) => {
    const centre = (index + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const behind = Math.min(n, Math.trunc(centre + support + 0.5));
    const weights = new Float64Array(behind - first);
    let sum = 0;
    for (let tap = 0; tap < weights.length; tap++) {
      weights[tap] = cubic((tap + first - centre + 0.5) / stretch);
      sum += weights[tap];
    }
    return { first, weights: weights.map((weight) => weight / sum) };
  });
}

function cubic(distance: number): number {
  const a = -0.5;
  const x = Math.abs(distance);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}
