/** What a JPEG says of itself, read before a decoder believes it. Source: ITU-T T.81, annex B. */

const START_OF_SCAN = 0xda;
const FRAMES: Record<number, JpegFrame["kind"]> = {
  192: "baseline",
  193: "extended",
  194: "progressive",
  195: "lossless",
  247: "jpeg-ls",
};

/** Size and depth by the frame header. */
export interface JpegFrame {
  kind: "baseline" | "extended" | "progressive" | "lossless" | "jpeg-ls";
  bits: number;
  height: number;
  width: number;
  components: number;
}

/** One marker segment; `start` is its 0xFF, `body` lies behind its length. */
export interface Segment {
  marker: number;
  start: number;
  end: number;
  body: Uint8Array;
}

/** Walk the segments before the first scan; the scan's own header is the last. */
export function* readSegments(bytes: Uint8Array): Generator<Segment> {
  let position = 2;
  while (position + 4 <= bytes.length && bytes[position] === 0xff) {
    const marker = bytes[position + 1];
    if (marker === 0xff) {
      position += 1; // padding
      continue;
    }
    const end = position + 2 + ((bytes[position + 2] << 8) | bytes[position + 3]);
    yield { marker, start: position, end, body: bytes.subarray(position + 4, end) };
    if (marker === START_OF_SCAN) return;
    position = end;
  }
}

/** Return the frame header in a segment, or null where it holds none that is decoded. */
export function readFrame({ marker, body }: Segment): JpegFrame | null {
  const kind = FRAMES[marker];
  if (kind === undefined || body.length < 6) return null;
  return {
    kind,
    bits: body[0],
    height: (body[1] << 8) | body[2],
    width: (body[3] << 8) | body[4],
    components: body[5],
  };
}

/**
 * Return the frame header of a JPEG or JPEG-LS.
 *
 * @throws Error there is none, or it is of a kind that is not decoded (arithmetic coding).
 */
export function findFrame(bytes: Uint8Array): JpegFrame {
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) throw new Error("it does not begin as a JPEG does");
  for (const segment of readSegments(bytes)) {
    const frame = readFrame(segment);
    if (frame) return frame;
  }
  throw new Error("its JPEG frame header is missing or of a kind that is not decoded");
}

/** Return where the end marker is, behind the first scan's start; -1 where there is none. */
export function findEnd(bytes: Uint8Array): number {
  let position = 2;
  for (const segment of readSegments(bytes)) {
    position = segment.marker === START_OF_SCAN ? segment.start : segment.end;
  }
  for (
    let at = bytes.indexOf(0xff, position);
    at >= 0 && at + 1 < bytes.length;
    at = bytes.indexOf(0xff, at + 1)
  ) {
    if (bytes[at + 1] === 0xd9) return at;
  }
  return -1;
}
