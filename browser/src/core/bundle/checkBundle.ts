/** Refuse what is no bundle, with the reason; repeats detector/bundle.py. */

import { BundleError } from "../errors";
import type { BundleCard } from "../types";
import { BUNDLE_SCHEMA, parseCard } from "./card";
import { readGraphFile } from "./graphFile";

export const MAX_BUNDLE_BYTES = 2 ** 29;
export const INPUT_NAME = "pixels";
/** Each output's number of axes; all are float32. */
export const OUTPUT_RANKS = {
  logit: 1,
  probability: 1,
  cam: 3,
  embedding: 2,
  atypicality: 1,
} as const;

const METADATA_KEY = "pneumoscope";
const WRITE_ONE = "Write one with: pneumoscope export RUN --out FILE";

/** An input or output as the runtime describes it; a number in `shape` is a fixed side. */
export interface TensorFacts {
  name: string;
  /** As in "uint8" or "float32". */
  type: string;
  shape: readonly (number | string)[];
}

/**
 * Return the card of a bundle's bytes.
 *
 * @param title What to call the bundle in messages.
 * @throws BundleError it is cut short, no bundle, too new, or points at another file.
 */
export function readBundleCard(bytes: Uint8Array, title: string): BundleCard {
  if (bytes.length > MAX_BUNDLE_BYTES) {
    throw new BundleError(
      `${title}: has ${bytes.length} bytes, more than the ${MAX_BUNDLE_BYTES} that a bundle may ` +
        "have. Check that it is the right file.",
    );
  }
  const { metadata, pointsOutside } = walk(bytes, title);
  const text = metadata.get(METADATA_KEY);
  if (text === undefined) {
    throw new BundleError(
      `${title}: is not a Pneumoscope bundle: its metadata lacks the key '${METADATA_KEY}'. ` +
        WRITE_ONE,
    );
  }
  const card = readCard(text, title);
  if (pointsOutside) {
    throw new BundleError(
      `${title}: keeps some weights in another file, and a bundle is one file that points at no ` +
        "other. Export it again with: pneumoscope export RUN --out FILE",
    );
  }
  return card;
}

/** @throws BundleError the hash is not the one that lies beside the bundle. */
export function checkHash(sha256: string, besideText: string, title: string): void {
  const expected = besideText.trim().split(/\s+/)[0].toLowerCase();
  if (expected === sha256) return;
  throw new BundleError(
    `${title}: was changed or damaged: its SHA-256 is ${sha256.slice(0, 12)}..., and ` +
      `${title}.sha256 says ${expected.slice(0, 12) || "nothing"}. ` +
      "Copy both again from where they came.",
  );
}

/**
 * Refuse other names, types or shapes. Outputs that a later version adds are read over.
 *
 * @throws BundleError the graph is not that of a bundle.
 */
export function checkSignature(
  inputs: readonly TensorFacts[],
  outputs: readonly TensorFacts[],
  title: string,
): void {
  const fault = findFault(inputs, outputs);
  if (fault === null) return;
  throw new BundleError(
    `${title}: is not a bundle of schema ${BUNDLE_SCHEMA}: ${fault}. ${WRITE_ONE}`,
  );
}

function findFault(inputs: readonly TensorFacts[], outputs: readonly TensorFacts[]): string | null {
  const [pixels] = inputs;
  if (inputs.length !== 1 || pixels.name !== INPUT_NAME) {
    const found = inputs.map((input) => input.name).join(", ");
    return `its inputs are ${found || "none"}, not '${INPUT_NAME}' alone`;
  }
  if (!isPixels(pixels)) {
    return `its input '${INPUT_NAME}' is ${describe(pixels)}, not uint8 (N, 1, H, W) of any size`;
  }
  for (const [name, rank] of Object.entries(OUTPUT_RANKS)) {
    const output = outputs.find((candidate) => candidate.name === name);
    if (output === undefined) return `it lacks the output ${name}`;
    const isRight =
      output.type === "float32" &&
      output.shape.length === rank &&
      typeof output.shape[0] !== "number";
    if (!isRight)
      return `its output '${name}' is ${describe(output)}, not float32 with ${rank} axes`;
  }
  return null;
}

function isPixels({ type, shape }: TensorFacts): boolean {
  if (type !== "uint8" || shape.length !== 4 || shape[1] !== 1) return false;
  return [0, 2, 3].every((axis) => typeof shape[axis] !== "number");
}

function describe({ type, shape }: TensorFacts): string {
  return `${type} (${shape.join(", ")})`;
}

function walk(bytes: Uint8Array, title: string) {
  try {
    return readGraphFile(bytes);
  } catch (error) {
    throw new BundleError(
      `${title}: is cut short, damaged, or not an ONNX file (${(error as Error).message}). ` +
        "Copy it again from where it came.",
    );
  }
}

function readCard(text: string, title: string): BundleCard {
  try {
    const value: unknown = JSON.parse(text);
    // Before all else, because a newer card may lack what this version requires.
    const schema = (value as { schema_version?: unknown } | null)?.schema_version;
    if (typeof schema === "number" && schema > BUNDLE_SCHEMA) {
      throw new BundleError(
        `${title}: has schema ${schema}, and this page reads up to ${BUNDLE_SCHEMA}. ` +
          "Use a newer version of Pneumoscope.",
      );
    }
    return parseCard(value);
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(
      `${title}: its card is wrong (${(error as Error).message}). ` +
        "Export the bundle again from its run.",
    );
  }
}
