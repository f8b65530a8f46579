/** How files come in: chosen, dropped, pasted, or as an example. */

import { isDicom } from "../../core";
import { words } from "../words";
import { tell } from "./announce";
import { addFiles } from "./items";
import { takeOwnBundle } from "./ways";

/** An example that comes with the page, and what its dataset calls it. */
export const EXAMPLES = [
  { name: "person1946_bacteria_4874.jpeg", label: "pneumonia" },
  { name: "NORMAL2-IM-1438-0001.jpeg", label: "normal" },
  { name: "person1954_bacteria_4886.jpeg", label: "pneumonia" },
  { name: "NORMAL2-IM-1437-0001.jpeg", label: "normal" },
] as const;

export const exampleUrl = (name: string) => new URL(`examples/${name}`, document.baseURI).href;

let nPasted = 0;

/** Take files: bundles go to the device, all else to the list. */
export function takeFiles(files: readonly File[]): void {
  const bundles = files.filter(isBundle);
  if (bundles.length > 0) void takeOwnBundle(bundles[0]);
  if (bundles.length > 1) tell(words.add.oneBundle(bundles[0].name), "problem");
  addFiles(files.filter((file) => !isBundle(file)).map((file) => ({ name: file.name, file })));
}

/** Take what was dropped, with the files of dropped folders. */
export async function takeDrop(data: DataTransfer): Promise<void> {
  // The list is only there until the event is over, so entries are taken before anything is awaited.
  const entries = [...data.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  if (entries.every((entry) => entry.isFile)) {
    takeFiles([...data.files]);
    return;
  }
  const { files, nUnread } = await filesOfAll(entries, false);
  takeFiles(files);
  if (nUnread > 0) tell(words.add.unread(nUnread), "problem");
  else if (files.length === 0) tell(words.add.noneInside, "problem");
}

/** Take a pasted picture. Browsers call every one of them "image.png". */
export function takePaste(data: DataTransfer): void {
  const files = [...data.files].map((file) => {
    const suffix = file.type.split("/")[1] ?? "";
    const isNamed = file.name !== "" && file.name !== `image.${suffix}`;
    return isNamed ? file : new File([file], `${words.add.pasted(++nPasted)}.${suffix}`);
  });
  if (files.length > 0) takeFiles(files);
  else if (data.types.length > 0) tell(words.add.nothing, "problem");
}

export async function takeExample(name: string): Promise<void> {
  const reply = await fetch(exampleUrl(name)).catch(() => null);
  if (reply?.ok) addFiles([{ name, file: await reply.blob() }]);
  else tell(words.add.exampleMissing(name), "problem");
}

function isBundle(file: File): boolean {
  return file.name.toLowerCase().endsWith(".onnx");
}

/** The files of entries, and how many files and folders in them could not be read. */
interface Found {
  files: File[];
  nUnread: number;
}

/** A folder of a hospital's disc has viewers and lists beside its pictures: these stay out. */
const SUFFIXES = [".jpeg", ".jpg", ".png", ".bmp", ".webp", ".dcm", ".dicom"];
const DICOM_MARK_END = 132;

async function filesOfAll(entries: FileSystemEntry[], isInside: boolean): Promise<Found> {
  const found = await Promise.all(entries.map((entry) => filesOf(entry, isInside)));
  return {
    files: found.flatMap(({ files }) => files),
    nUnread: found.reduce((sum, { nUnread }) => sum + nUnread, 0),
  };
}

async function filesOf(entry: FileSystemEntry, isInside: boolean): Promise<Found> {
  if (isInside && entry.name.startsWith(".")) return { files: [], nUnread: 0 };
  try {
    if (entry.isFile) {
      const file = await fileOf(entry as FileSystemFileEntry);
      return { files: !isInside || (await isPicture(file)) ? [file] : [], nUnread: 0 };
    }
    const inside = await entriesOf(entry as FileSystemDirectoryEntry);
    // By name, folder after folder, as paths are sorted; systems give them in any order.
    inside.sort((one, other) => (one.name < other.name ? -1 : 1));
    return await filesOfAll(inside, true);
  } catch {
    return { files: [], nUnread: 1 };
  }
}

/** Whether a file of a folder is taken; the same rule as at the shell, detector/pictures.py. */
async function isPicture(file: File): Promise<boolean> {
  const name = file.name.toLowerCase();
  if (name === "dicomdir" || name.endsWith(".overlay.png")) return false;
  if (SUFFIXES.some((suffix) => name.endsWith(suffix))) return true;
  return isDicom(new Uint8Array(await file.slice(0, DICOM_MARK_END).arrayBuffer()));
}

function fileOf(entry: FileSystemFileEntry): Promise<File> {
  return new Promise((take, fail) => entry.file(take, fail));
}

async function entriesOf(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const inside: FileSystemEntry[] = [];
  // A reader gives a folder in portions; an empty one is the end.
  for (let portion = await next(reader); portion.length > 0; portion = await next(reader)) {
    inside.push(...portion);
  }
  return inside;
}

function next(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  return new Promise((take, fail) => reader.readEntries(take, fail));
}
