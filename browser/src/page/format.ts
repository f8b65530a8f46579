/** How the page writes numbers. */

/** Return a probability as the shell prints it. */
export const three = (value: number) => value.toFixed(3);
export const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
export const shortHash = (sha256: string) => sha256.slice(0, 12);
export const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
export const plural = (n: number, one: string, many = `${one}s`) =>
  `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
