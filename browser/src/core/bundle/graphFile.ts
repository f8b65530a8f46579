/**
 * Look into an ONNX file's bytes before onnxruntime does; repeats detector/graph_file.py.
 *
 * Source: onnx.proto (field numbers), protobuf.dev/programming-guides/encoding (wire format).
 */

const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED_BYTES: Record<number, number> = { 1: 8, 5: 4 };

type Message =
  | "Model"
  | "Graph"
  | "Node"
  | "Attribute"
  | "Tensor"
  | "SparseTensor"
  | "TrainingInfo"
  | "Function"
  | "Entry";

// Message -> field number -> message within it: every way that leads from a model to a tensor.
const WITHIN: Record<Exclude<Message, "Tensor" | "Entry">, Record<number, Message>> = {
  Model: { 7: "Graph", 14: "Entry", 20: "TrainingInfo", 25: "Function" },
  Graph: { 1: "Node", 5: "Tensor", 15: "SparseTensor" },
  Node: { 5: "Attribute" },
  Attribute: {
    5: "Tensor",
    6: "Graph",
    10: "Tensor",
    11: "Graph",
    22: "SparseTensor",
    23: "SparseTensor",
  },
  SparseTensor: { 1: "Tensor", 2: "Tensor" },
  TrainingInfo: { 1: "Graph", 2: "Graph" },
  Function: { 7: "Node", 11: "Attribute" },
};
const [ENTRY_KEY, ENTRY_VALUE] = [1, 2];
const [EXTERNAL_DATA, DATA_LOCATION] = [13, 14];

/** What an ONNX file's own bytes say. */
export interface GraphFile {
  /** metadata_props */
  metadata: Map<string, string>;
  /** A tensor's values lie in another file. */
  pointsOutside: boolean;
}

interface Field {
  number: number;
  wireType: number;
  /** Of its content. */
  start: number;
  end: number;
  /** Of a varint, else 0. */
  value: number;
}

/**
 * Walk an ONNX file.
 *
 * @throws RangeError the bytes are no protobuf message, or they end too early.
 */
export function readGraphFile(bytes: Uint8Array): GraphFile {
  const metadata = new Map<string, string>();
  let pointsOutside = false;
  // A list, not recursion: a hostile file may nest deeply.
  const waiting: [Message, number, number][] = [["Model", 0, bytes.length]];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [message, start, end] = next;
    for (const field of readFields(bytes, start, end)) {
      if (message === "Tensor" || message === "Entry") {
        const isExternal = field.number === DATA_LOCATION && field.value !== 0;
        pointsOutside ||= isExternal || field.number === EXTERNAL_DATA;
        continue;
      }
      const inner = WITHIN[message][field.number];
      if (inner === undefined || field.wireType !== LENGTH_DELIMITED) continue;
      if (inner === "Entry") metadata.set(...readEntry(bytes, field));
      else waiting.push([inner, field.start, field.end]);
    }
  }
  return { metadata, pointsOutside };
}

function* readFields(bytes: Uint8Array, position: number, end: number): Generator<Field> {
  while (position < end) {
    const tag = readVarint(bytes, position, end);
    const number = Math.floor(tag.value / 8);
    const wireType = tag.value % 8;
    let start = tag.end;
    let value = 0;
    if (wireType === VARINT) {
      ({ value, end: position } = readVarint(bytes, start, end));
    } else if (wireType === LENGTH_DELIMITED) {
      const length = readVarint(bytes, start, end);
      start = length.end;
      position = start + length.value;
    } else if (FIXED_BYTES[wireType] !== undefined) {
      position = start + FIXED_BYTES[wireType];
    } else {
      throw new RangeError(`wire type ${wireType} at byte ${start}`);
    }
    if (position > end || number === 0) {
      throw new RangeError(`field ${number} at byte ${start} does not fit`);
    }
    yield { number, wireType, start, end: position, value };
  }
}

function readVarint(
  bytes: Uint8Array,
  position: number,
  end: number,
): { value: number; end: number } {
  let value = 0;
  // Not by shifts, which end at 32 bits. Above 2^53 the last digits go, and then nothing fits.
  for (let nBits = 0; nBits < 70 && position < end; nBits += 7) {
    const byte = bytes[position++];
    value += (byte & 0x7f) * 2 ** nBits;
    if (byte < 0x80) return { value, end: position };
  }
  throw new RangeError(`a number at byte ${position} has no end`);
}

function readEntry(bytes: Uint8Array, entry: Field): [string, string] {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const texts: string[] = [];
  for (const field of readFields(bytes, entry.start, entry.end)) {
    if (field.wireType !== LENGTH_DELIMITED) continue;
    texts[field.number] = decoder.decode(bytes.subarray(field.start, field.end));
  }
  return [texts[ENTRY_KEY] ?? "", texts[ENTRY_VALUE] ?? ""];
}
