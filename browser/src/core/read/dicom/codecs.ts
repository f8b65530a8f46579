/** The decoders of compressed DICOM that are WASM; each is fetched when the first file needs it. */

import { fetchPart, fetchParts, type Parts } from "../../device/parts";
import { DeviceError } from "../../errors";
import { unreadable } from "../refusals";
import { type Jpeg2000Header, SIGN_AT } from "./codestream";

type Bytes = Uint8Array<ArrayBuffer>;
type Samples = Uint8Array | Uint16Array;
type CodecName = keyof Parts["codecs"];

/** What both decoders have in common; see their README at github.com/cornerstonejs/codecs. */
interface Decoder {
  getEncodedBuffer(nBytes: number): Uint8Array;
  decode(): void;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number };
  getDecodedBuffer(): Uint8Array;
  delete(): void;
}
type Start<Module> = (options: {
  wasmBinary: ArrayBuffer;
  print: (line: string) => void;
  printErr: (line: string) => void;
}) => Promise<Module>;
type JpegLs = { JpegLSDecoder: new () => Decoder };
type Jpeg2000 = { J2KDecoder: new () => Decoder };

const QUIET = { print: () => {}, printErr: () => {} }; // they would fill the console

/** Decodes JPEG-LS and JPEG 2000, where the parts for this device are to be had. */
export class Codecs {
  private jpegLs: Promise<JpegLs> | null = null;
  private jpeg2000: Promise<Jpeg2000> | null = null;

  /** @param base Where the page lies: the decoders are sought below it, in `device/`. */
  constructor(private readonly base: string) {}

  async decodeJpegLs(data: Bytes, { bits }: { bits: number }): Promise<Samples> {
    this.jpegLs ??= this.fetch("jpeg-ls").then(async (wasmBinary) => {
      const { default: start } = await import("@cornerstonejs/codec-charls/decodewasmjs");
      return (start as Start<JpegLs>)({ wasmBinary, ...QUIET });
    });
    const module = await this.jpegLs.catch((error: unknown) => {
      this.jpegLs = null; // the next file may find the network back
      throw error;
    });
    return decodeWith(new module.JpegLSDecoder(), data, bits);
  }

  async decodeJpeg2000(data: Bytes, { bits, isSigned }: Jpeg2000Header): Promise<Samples> {
    this.jpeg2000 ??= this.fetch("jpeg-2000").then(async (wasmBinary) => {
      const { default: start } = await import("@cornerstonejs/codec-openjpeg/decodewasmjs");
      return (start as Start<Jpeg2000>)({ wasmBinary, ...QUIET });
    });
    const module = await this.jpeg2000.catch((error: unknown) => {
      this.jpeg2000 = null;
      throw error;
    });
    if (!isSigned) return decodeWith(new module.J2KDecoder(), data, bits);
    // This decoder makes negative samples of one byte black. Told that they are unsigned, it moves
    // all of them up by half the range (T.800, G.1.2), which is undone here.
    const unsigned = data.slice();
    unsigned[SIGN_AT] &= 0x7f;
    const samples = decodeWith(new module.J2KDecoder(), unsigned, bits);
    return samples.map((sample) => sample ^ (1 << (bits - 1)));
  }

  private async fetch(codec: CodecName): Promise<ArrayBuffer> {
    try {
      const parts = await fetchParts(this.base);
      const response = await fetchPart(new URL(parts.codecs[codec], parts.folder));
      return await response.arrayBuffer();
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      const name = codec === "jpeg-ls" ? "JPEG-LS" : "JPEG 2000";
      throw unreadable(
        `this file is compressed with ${name}, and the page's decoder for it is missing ` +
          `(${error.message}) Send it to the server, or use: pneumoscope predict FILE`,
      );
    }
  }
}

function decodeWith(decoder: Decoder, data: Bytes, bits: number): Samples {
  try {
    decoder.getEncodedBuffer(data.length).set(data);
    decoder.decode();
    const decoded = decoder.getDecodedBuffer().slice(); // before its memory is freed
    if (bits <= 8) return decoded;
    return new Uint16Array(decoded.buffer);
  } catch (error) {
    // The decoders throw numbers and strings.
    throw error instanceof Error ? error : new Error("its decoder gave up");
  } finally {
    decoder.delete();
  }
}
