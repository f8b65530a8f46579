/** From what the graph says of a radiograph to an answer at an operating point. */

import { UsageError } from "./errors";
import { toLogit } from "./logitScale";
import { findRegions } from "./regions";
import type { BundleCard, OperatingPoint, Prediction, PredictionJson } from "./types";

/**
 * Return the operating point of that name, or the card's first.
 *
 * @throws UsageError the card has none of that name.
 */
export function findOperatingPoint(card: BundleCard, name?: string): OperatingPoint {
  const points = card.operating_points;
  const found = name === undefined ? points[0] : points.find((point) => point.name === name);
  if (found) return found;
  const names = points.map((point) => point.name).join(", ");
  throw new UsageError(`${card.name} has no operating point '${name}'. It has: ${names}.`);
}

/**
 * Return the same answer at another operating point, without a new inference.
 *
 * @throws UsageError the card has none of that name.
 */
export function decide(prediction: Prediction, card: BundleCard, pointName?: string): Prediction {
  const point = findOperatingPoint(card, pointName);
  const { logit, probability, image, map } = prediction;
  const thresholdLogit = toLogit(point.threshold, card.calibration);
  const isPositive = probability >= point.threshold;
  const regions = isPositive
    ? findRegions(map, {
        logit,
        // The label is the probability's. At the threshold itself, rounding to float32 could put
        // the logit on the other side of it.
        thresholdLogit: Math.min(thresholdLogit, logit),
        heightPx: image.height,
        widthPx: image.width,
        calibration: card.calibration,
      })
    : [];
  return {
    ...prediction,
    label: isPositive ? "pneumonia" : "normal",
    operatingPoint: { name: point.name, threshold: point.threshold },
    regions,
    map: { ...map, thresholdLogit },
  };
}

/** Return the object that `pneumoscope predict --format json` prints, keys in its order. */
export function toJson(prediction: Prediction): PredictionJson {
  const { name, threshold } = prediction.operatingPoint;
  const { bundle } = prediction;
  return {
    path: prediction.path,
    sha256: prediction.sha256,
    probability: prediction.probability,
    logit: prediction.logit,
    label: prediction.label,
    operating_point: { name, threshold },
    regions: prediction.regions.map(({ x, y, width, height, score }) => {
      return { x, y, width, height, score };
    }),
    warnings: [...prediction.warnings],
    bundle: { name: bundle.name, version: bundle.version, sha256: bundle.sha256 },
  };
}
