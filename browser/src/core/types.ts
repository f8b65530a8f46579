/** What the page and its two detectors say to each other. Keys in snake_case are the card's own. */

/** One radiograph as display values, and the facts that its file states. */
export interface Radiograph {
  /** (height * width) display values, row by row; larger is brighter. */
  pixels: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
  /** The channels differed as in a photograph. */
  isColour: boolean;
  modality: string | null;
  viewPosition: string | null;
  sex: string | null;
  ageYears: number | null;
}

/** A box round strong evidence, in pixels of the file's own picture. */
export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
  /** Calibrated probability of its strongest place, in [0, 1]. */
  score: number;
}

/** A threshold, what it achieves, and where that was measured. */
export interface OperatingPoint {
  name: string;
  /** Calibrated probability in [0, 1]. */
  threshold: number;
  sensitivity: number;
  specificity: number;
  sensitivity_interval?: [number, number] | null;
  specificity_interval?: [number, number] | null;
  measured_on: string;
}

export interface Calibration {
  temperature: number;
  bias: number;
  fitted_on: string;
  n: number;
}

/** The card of a bundle, as its ONNX file holds it; see src/pneumoscope/detector/card.py. */
export interface BundleCard {
  schema_version: number;
  name: string;
  version: string;
  title: string;
  recipe: string;
  seed: number;
  precision: "fp32" | "int8";
  labels: [string, string];
  /** Side of the square that the graph squeezes a picture to. */
  size_px: number;
  map_kind: "CAM" | "Grad-CAM";
  /** At least one; the first is the default. */
  operating_points: OperatingPoint[];
  calibration: Calibration;
  atypicality: { threshold: number; share_flagged_on_tuning: number };
  training_data: {
    name: string;
    fingerprint: string;
    n_training: number;
    n_tuning: number;
    n_tuning_pneumonia: number | null;
    origins: Record<string, number>;
  };
  population: {
    description: string;
    modalities: string[] | null;
    view_positions: string[] | null;
    age_years: [number, number] | null;
  };
  results: {
    dataset: string;
    split: string;
    n: number;
    figures: Record<string, { value: number; low: number; high: number }>;
  }[];
  intended_use: string;
  limits: string[];
  licence: string;
  attribution: string;
}

/** Which bundle answered. */
export interface BundleIdentity {
  name: string;
  version: string;
  sha256: string;
}

/** Evidence for pneumonia in logit units, as the bundle gives it. */
export interface EvidenceMap {
  height: number;
  width: number;
  /** (height * width), row by row, signed. */
  values: Float32Array<ArrayBuffer>;
  /** The operating point on the uncalibrated logit's scale; may be infinite. */
  thresholdLogit: number;
}

export type Label = "pneumonia" | "normal";

/** The answer for one radiograph at one operating point. Research use only. */
export interface Prediction {
  path: string;
  /** Of the file's bytes. */
  sha256: string;
  /** Calibrated, in [0, 1]. */
  probability: number;
  /** Uncalibrated. */
  logit: number;
  label: Label;
  operatingPoint: { name: string; threshold: number };
  /** Strongest first; none where the label is normal. */
  regions: Region[];
  /** Sentences, each behind a stable code: "age: ...". */
  warnings: string[];
  bundle: BundleIdentity;
  atypicality: number;
  /** The file's own picture. */
  image: { height: number; width: number };
  map: EvidenceMap;
  /** Decoding and inference together; on the server's clock where the server answered. */
  milliseconds: number;
  where: "device" | "server";
}

/** What `pneumoscope predict --format json` prints for one file that was answered. */
export interface PredictionJson {
  path: string;
  sha256: string;
  probability: number;
  logit: number;
  label: Label;
  operating_point: { name: string; threshold: number };
  regions: Region[];
  warnings: string[];
  bundle: BundleIdentity;
}

/** A file that could not be answered. Also what `predict --format json` prints for it. */
export interface Failure {
  path: string;
  error: { type: string; message: string };
}

/** A prediction and the picture that it is about. */
export interface Answer {
  prediction: Prediction;
  radiograph: Radiograph;
}

/** How far a download or a start is. */
export interface Progress {
  stage: "runtime" | "bundle" | "starting" | "ready";
  /** Bytes so far; null where the stage has none. */
  loaded: number | null;
  /** Bytes in all; null where unknown. */
  total: number | null;
}

export interface DeviceOptions {
  /** Where the page lies: `device/device.json` is sought below it. */
  base: URL;
  /** A bundle of one's own. It is handed over: the buffer is empty afterwards. */
  bundleBytes?: ArrayBuffer;
  onProgress?: (progress: Progress) => void;
  /** Gives up the start and ends its worker; of no effect once the detector is open. */
  signal?: AbortSignal;
}

/** Something that answers for radiographs: this device, or the server. */
export interface Detector {
  readonly where: "device" | "server";
  readonly card: BundleCard;
  readonly identity: BundleIdentity;
  /**
   * Answer for one file.
   *
   * @param bytes The whole file; it is copied only where it must be, and left as it was.
   * @param name What to call it in the answer and in messages.
   * @param operatingPointName Its name on the card; without it, the card's first.
   * @throws ReadError the file cannot be read.
   * @throws UsageError the card has no such operating point.
   * @throws BundleError the graph failed on it.
   * @throws ServerError the server could not be reached, or refused.
   */
  predict(
    bytes: Uint8Array<ArrayBuffer>,
    name: string,
    operatingPointName?: string,
  ): Promise<Answer>;
  close(): void;
}
