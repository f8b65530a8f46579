/** What a person drops or selects, where a file can't be read. */

import { beforeEach, expect, test, vi } from "vitest";
import type { Radiograph } from "../../src/core";
import { notice } from "../../src/page/state/announce";
import { takeDrop, takeFiles } from "../../src/page/state/arrive";
import { addFiles, items, selectedId } from "../../src/page/state/items";
import { inView, selectedRadiograph } from "../../src/page/state/radiographs";

// Modules of the page look where it lies as soon as they are loaded.
vi.hoisted(() => vi.stubGlobal("document", { baseURI: "https://host.example/" }));

beforeEach(() => {
  items.value = [];
});

function file(name: string, isReadable = true, content: BlobPart = "x") {
  return {
    name,
    isFile: true,
    file: (take: (file: File) => void, fail: (error: Error) => void) =>
      isReadable ? take(new File([content], name)) : fail(new Error("NotReadableError")),
  };
}

function folder(...inside: unknown[]) {
  return named("folder", ...inside);
}

function named(name: string, ...inside: unknown[]) {
  const portions = [inside, []];
  const readEntries = (take: (portion: unknown) => void) => take(portions.shift());
  return { name, isFile: false, createReader: () => ({ readEntries }) };
}

test("a file of a dropped folder that can't be read is told, and the others are taken", async () => {
  const entries = [folder(file("1.png"), file("2.png", false), folder(file("3.png")))];
  const data = { items: entries.map((entry) => ({ webkitGetAsEntry: () => entry })), files: [] };
  await takeDrop(data as unknown as DataTransfer);
  expect(items.value.map((item) => item.name)).toEqual(["1.png", "3.png"]);
  expect(notice.value?.text).toBe("One file or folder could not be read.");
});

async function drop(...entries: unknown[]) {
  const data = { items: entries.map((entry) => ({ webkitGetAsEntry: () => entry })), files: [] };
  await takeDrop(data as unknown as DataTransfer);
}

test("of a dropped folder the pictures alone are taken, by their paths' order", async () => {
  const dicom = new Uint8Array(132);
  dicom.set([0x44, 0x49, 0x43, 0x4d], 128);
  await drop(
    folder(
      file("viewer.exe"),
      file("b.PNG"),
      named("a", file("IM0002", true, dicom), file("IM0001", true, dicom), file("readme")),
      named(".hidden", file("c.png")),
      file(".DS_Store"),
      file("DICOMDIR", true, dicom),
      file("b.overlay.png"),
    ),
  );
  expect(items.value.map((item) => item.name)).toEqual(["IM0001", "IM0002", "b.PNG"]);
});

test("a folder without a picture is told", async () => {
  await drop(folder(file("readme.txt")));
  expect(items.value).toEqual([]);
  expect(notice.value?.text).toContain("has no JPEG");
});

test("a file that is dropped by itself is taken whatever its name", async () => {
  await drop(folder(), file("readme.txt"));
  expect(items.value.map((item) => item.name)).toEqual(["readme.txt"]);
});

test("of several bundles that come at once the first is opened, and that is told", () => {
  takeFiles([new File(["x"], "one.onnx"), new File(["x"], "two.onnx")]);
  expect(notice.value?.text).toContain("one.onnx is opened");
});

test("the facts of the picture in view are not those of another that is selected", () => {
  addFiles([
    { name: "a.dcm", file: new Blob(["a"]) },
    { name: "b.dcm", file: new Blob(["b"]) },
  ]);
  const [a, b] = items.value;
  const radiograph = { ageYears: 4, sex: "F" } as Radiograph;
  inView.value = { id: a.id, radiograph };
  selectedId.value = a.id;
  expect(selectedRadiograph.value).toBe(radiograph);
  selectedId.value = b.id;
  expect(selectedRadiograph.value).toBeNull();
});
