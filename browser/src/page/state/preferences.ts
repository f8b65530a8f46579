/** Choices that outlive a visit. Where storage is refused they last as long as the page. */

const PREFIX = "pneumoscope.";

/** Return what was stored under a name, if it is one of the values allowed. */
export function recall<T extends string>(name: string, allowed: readonly T[]): T | null {
  try {
    const value = localStorage.getItem(PREFIX + name);
    return allowed.find((each) => each === value) ?? null;
  } catch {
    return null; // a browser set to keep nothing throws
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // As above: the choice then lasts as long as the page.
  }
}
