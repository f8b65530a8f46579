/** Numbers as Python's `format(value, "g")` writes them, so that sentences are the same. */

const EXACT_DIGITS = 40; // an exact half has few digits; a near one differs long before these end

/** Return `value` with so many significant digits, as Python's `f"{value:.{digits}g}"`. */
export function formatG(value: number, digits = 6): string {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  const [mantissa, exponent] = roundHalfEven(Math.abs(value), digits);
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  if (exponent < -4 || exponent >= digits) {
    const text = withoutZeros(`${mantissa[0]}.${mantissa.slice(1)}`);
    const power = String(Math.abs(exponent)).padStart(2, "0");
    return `${sign}${text}e${exponent < 0 ? "-" : "+"}${power}`;
  }
  if (exponent < 0) return sign + withoutZeros(`0.${"0".repeat(-exponent - 1)}${mantissa}`);
  return sign + withoutZeros(`${mantissa.slice(0, exponent + 1)}.${mantissa.slice(exponent + 1)}`);
}

/** Return the significant digits and the power of ten of the first one. */
function roundHalfEven(value: number, digits: number): [string, number] {
  // toExponential itself rounds an exact half up, and Python rounds it to the even digit.
  const [all, power] = value.toExponential(EXACT_DIGITS).split("e");
  const exact = all.replace(".", "");
  const kept = exact.slice(0, digits);
  const rest = exact.slice(digits);
  const half = `5${"0".repeat(rest.length - 1)}`;
  const isUp = rest > half || (rest === half && Number(kept.at(-1)) % 2 === 1);
  const rounded = isUp ? String(Number(kept) + 1) : kept;
  if (rounded.length > digits) return [rounded.slice(0, digits), Number(power) + 1];
  return [rounded.padStart(digits, "0"), Number(power)];
}

function withoutZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0*$/, "") : text;
}
