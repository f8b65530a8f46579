/** The server's replies as the page's own types; see the HTTP interface in docs/deploy.md. */

import * as v from "valibot";
import { ServerError } from "../errors";
import { decide } from "../prediction";
import type { BundleCard, Prediction } from "../types";

const errorSchema = v.object({ type: v.string(), message: v.string() });

const predictionSchema = v.object({
  path: v.string(),
  sha256: v.string(),
  probability: v.number(),
  logit: v.number(),
  label: v.picklist(["pneumonia", "normal"]),
  operating_point: v.object({ name: v.string(), threshold: v.number() }),
  regions: v.array(
    v.object({
      x: v.number(),
      y: v.number(),
      width: v.number(),
      height: v.number(),
      score: v.number(),
    }),
  ),
  warnings: v.array(v.string()),
  bundle: v.object({ name: v.string(), version: v.string(), sha256: v.string() }),
  image: v.object({ height: v.number(), width: v.number() }),
  atypicality: v.number(),
  seconds: v.number(),
  map: v.object({ height: v.number(), width: v.number(), values: v.array(v.number()) }),
  picture_png: v.optional(v.string()),
});

const failureSchema = v.object({ path: v.string(), error: errorSchema });
// Where no file was answered, `results` has the reason of each, as the array of answers has.
const refusalSchema = v.object({
  error: errorSchema,
  results: v.optional(v.array(v.unknown())),
});

export interface ServerAnswer {
  prediction: Prediction;
  /** A PNG of the display values, where it was asked for. */
  picture: Uint8Array<ArrayBuffer> | null;
}

/**
 * Return the answer of one file from the reply's array.
 *
 * @throws ServerError the file failed, or the reply is none that this page knows.
 */
export function readAnswer(body: unknown, card: BundleCard): ServerAnswer {
  const [item] = Array.isArray(body) ? (body as unknown[]) : [];
  const failure = v.safeParse(failureSchema, item);
  if (failure.success) {
    const { type, message } = failure.output.error;
    throw new ServerError(message, { type });
  }
  const parsed = v.safeParse(predictionSchema, item);
  if (!parsed.success) throw unknownReply(parsed.issues[0]);
  const { operating_point, seconds, picture_png, map, ...rest } = parsed.output;
  const prediction: Prediction = {
    ...rest,
    operatingPoint: operating_point,
    map: { ...map, values: Float32Array.from(map.values), thresholdLogit: 0 },
    milliseconds: 1000 * seconds,
    where: "server",
  };
  // The map's threshold by the page's own rule: infinity is none of JSON's numbers.
  const { thresholdLogit } = decide(prediction, card, operating_point.name).map;
  return {
    prediction: { ...prediction, map: { ...prediction.map, thresholdLogit } },
    picture: picture_png === undefined ? null : fromBase64(picture_png),
  };
}

/** Return the error that a reply without answers stands for. */
export async function readRefusal(response: Response): Promise<ServerError> {
  const seconds = Number(response.headers.get("Retry-After"));
  const facts = {
    status: response.status,
    retryAfterSeconds: response.headers.has("Retry-After") && seconds >= 0 ? seconds : null,
  };
  const refusal = v.safeParse(refusalSchema, await response.json().catch(() => null));
  if (refusal.success) {
    const file = v.safeParse(failureSchema, refusal.output.results?.[0]);
    const { type, message } = (file.success ? file : refusal).output.error;
    return new ServerError(message, { type, ...facts });
  }
  return new ServerError(
    `The server answered with status ${response.status}. Try again, or look into its log.`,
    facts,
  );
}

function unknownReply(issue: v.BaseIssue<unknown>): ServerError {
  const where = v.getDotPath(issue) ?? "the reply";
  return new ServerError(
    `The server's reply is none that this page knows (${where}: ${issue.message}). ` +
      "Reload the page; the server may have been upgraded.",
  );
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
