/** From a file's bytes to display values, by the one written rule: docs/reading.md. */

import { PneumoscopeError, ReadError } from "../errors";
import type { Radiograph } from "../types";
import { readBitmap } from "./bitmap";
import type { Codecs } from "./dicom/codecs";
import { readDicom } from "./dicom/readDicom";
import { detectFormat } from "./format";
import { readJpeg } from "./jpeg";
import { readPng } from "./png";
import { checkFile, damaged, isOutOfMemory, unreadable } from "./refusals";

/**
 * Read one file. Runs in a worker: the canvas there needs no page.
 *
 * @param title What to call the file in messages.
 * @param codecs Where the decoders of compressed DICOM come from.
 * @throws ReadError damaged, cut short, too large, or of a kind that has no fixed gray meaning.
 */
export async function readFile(
  bytes: Uint8Array<ArrayBuffer>,
  title: string,
  codecs: Codecs,
): Promise<Radiograph> {
  try {
    checkFile(bytes, title);
    return await readByFormat(bytes, title, codecs);
  } catch (error) {
    // What a decoder refuses for a reason of the browser's does not know the file's name.
    if (error instanceof ReadError && !error.message.startsWith(title)) {
      throw unreadable(`${title}: ${error.message}`);
    }
    if (error instanceof PneumoscopeError) throw error;
    if (isOutOfMemory(error)) {
      throw new ReadError(
        "MemoryError",
        `${title}: needs more memory than is free. Scale it down, or close other pages.`,
      );
    }
    const { name, message } = error as Error;
    throw damaged(title, message || name);
  }
}

function readByFormat(
  bytes: Uint8Array<ArrayBuffer>,
  title: string,
  codecs: Codecs,
): Promise<Radiograph> {
  const format = detectFormat(bytes);
  switch (format) {
    case "DICOM":
      return readDicom(bytes, title, codecs);
    case "JPEG":
      return readJpeg(bytes, title);
    case "PNG":
      return Promise.resolve(readPng(bytes, title));
    case "BMP":
    case "WebP":
      return readBitmap(bytes, title, format);
    case null:
      throw unreadable(
        `${title}: its first bytes are not those of a JPEG, PNG, BMP, WebP or DICOM file, ` +
          "whatever its name says. Export the radiograph again in one of these.",
      );
    default:
      throw unreadable(
        `${title}: is a ${format} file, which may hold several frames, other depths or colours. ` +
          "Convert it to an 8-bit gray PNG, or send the DICOM file.",
      );
  }
}
