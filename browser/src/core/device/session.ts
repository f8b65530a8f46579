/** A bundle in onnxruntime: started, checked, warmed up, and asked one radiograph at a time. */

import glueUrl from "onnxruntime-web/ort-wasm-simd-threaded.mjs?url";
import { env, InferenceSession, Tensor } from "onnxruntime-web/wasm";
import { checkSignature, INPUT_NAME, OUTPUT_RANKS, type TensorFacts } from "../bundle/checkBundle";
import { BundleError, DeviceError } from "../errors";
import type { EvidenceMap, Radiograph } from "../types";

const MAX_THREADS = 4; // more hardly help one radiograph

type Picture = Pick<Radiograph, "pixels" | "width" | "height">;

/** What the graph returns for one radiograph. */
export interface GraphAnswer {
  logit: number;
  probability: number;
  atypicality: number;
  cam: Omit<EvidenceMap, "thresholdLogit">;
}

/** The version of onnxruntime-web that this page was built with. */
export const RUNTIME_VERSION: string | undefined = env.versions.web;

/** Tell onnxruntime where its parts are. Returns the number of threads. */
export function prepareRuntime(wasmBinary: ArrayBuffer): number {
  const threads = self.crossOriginIsolated
    ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1)
    : 1;
  env.logLevel = "error";
  env.wasm.numThreads = threads;
  env.wasm.proxy = false; // this is a worker already
  env.wasm.wasmPaths = { mjs: new URL(glueUrl, import.meta.url).href };
  env.wasm.wasmBinary = wasmBinary;
  return threads;
}

/**
 * Compile the WASM while the bundle is still on its way.
 *
 * onnxruntime has no call for it. A session of no bytes starts the runtime and then fails; what is
 * wrong with the runtime itself is said where the bundle's session starts.
 */
export async function startRuntime(): Promise<void> {
  await InferenceSession.create(new Uint8Array(0)).catch(() => {});
}

export class Session {
  private constructor(
    private readonly session: InferenceSession,
    private readonly title: string,
  ) {}

  /** @throws BundleError onnxruntime cannot load it, or it is no bundle's graph. */
  static async start(bytes: Uint8Array, title: string): Promise<Session> {
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(bytes, {
        executionProviders: ["wasm"],
        graphOptimizationLevel: "all",
        // Memory stays flat: no plan is kept for each size of picture.
        enableMemPattern: false,
        // The other format that onnxruntime would read from these bytes was not looked into.
        extra: { session: { load_model_format: "ONNX" } },
      });
    } catch (error) {
      if (!isRuntimeMissing(error)) {
        throw new BundleError(
          `${title}: onnxruntime ${RUNTIME_VERSION} cannot load it (${firstLine(error)}). ` +
            "Export it again, or use a newer version of Pneumoscope.",
        );
      }
      throw new DeviceError(
        `This browser cannot run WebAssembly (${firstLine(error)}). Use a newer browser, or run ` +
          "on the server.",
      );
    }
    checkSignature(factsOf(session.inputMetadata), factsOf(session.outputMetadata), title);
    return new Session(session, title);
  }

  /**
   * Answer for one radiograph.
   *
   * @throws BundleError the graph fails, or its answer is not finite or of another shape.
   */
  async run({ pixels, width, height }: Picture): Promise<GraphAnswer> {
    const input = new Tensor("uint8", pixels, [1, 1, height, width]);
    let outputs: InferenceSession.OnnxValueMapType;
    try {
      outputs = await this.session.run({ [INPUT_NAME]: input }, Object.keys(OUTPUT_RANKS));
    } catch (error) {
      throw new BundleError(
        `${this.title}: its graph failed on ${width} x ${height} pixels (${firstLine(error)}). ` +
          "Free some memory, or export the bundle again.",
      );
    }
    const read = (name: keyof typeof OUTPUT_RANKS) => this.readOutput(outputs[name], name);
    read("embedding");
    const { data, dims } = read("cam");
    const answer = {
      logit: read("logit").data[0],
      probability: read("probability").data[0],
      atypicality: read("atypicality").data[0],
      // A copy, since the runtime's own memory is used again.
      cam: { height: dims[1], width: dims[2], values: Float32Array.from(data) },
    };
    for (const output of Object.values(outputs)) output.dispose();
    return answer;
  }

  private readOutput(
    output: InferenceSession.OnnxValueMapType[string],
    name: keyof typeof OUTPUT_RANKS,
  ): { data: Float32Array; dims: readonly number[] } {
    const { data, dims } = output;
    const isRight =
      data instanceof Float32Array &&
      dims.length === OUTPUT_RANKS[name] &&
      dims[0] === 1 &&
      data.length > 0 &&
      data.every(Number.isFinite);
    if (isRight) return { data, dims };
    throw new BundleError(
      `${this.title}: its answer '${name}' has the shape (${dims.join(", ")}) or values that are ` +
        "not finite. Export the bundle again from its run.",
    );
  }
}

function factsOf(metadata: readonly InferenceSession.ValueMetadata[]): TensorFacts[] {
  return metadata.map((value) =>
    value.isTensor
      ? { name: value.name, type: value.type, shape: value.shape }
      : { name: value.name, type: "no tensor", shape: [] },
  );
}

function isRuntimeMissing(error: unknown): boolean {
  return (
    /no available backend|WebAssembly|wasm/i.test(String(error)) &&
    !/ERROR_CODE/.test(String(error))
  );
}

function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.trim().split("\n")[0].slice(0, 200) || "no reason given";
}
