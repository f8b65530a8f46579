/** What a person drops or selects, where a file can't be read. */

import { beforeEach, expect, test, vi } from "vitest";
import type { Radiograph } from "../../src/core";
import { notice } from "../../src/page/state/announce";
import { takeDrop } from "../../src/page/state/arrive";
import { addFiles, items, selectedId } from "../../src/page/state/items";
import { inView, selectedRadiograph } from "../../src/page/state/radiographs";

// Modules of the page look where it lies as soon as they are loaded.
vi.hoisted(() => vi.stubGlobal("document", { baseURI: "https://host.example/" }));

beforeEach(() => {
  items.value = [];
});

function file(name: string, isReadable = true) {
  return {
    isFile: true,
    file: (take: (file: File) => void, fail: (error: Error) => void) =>
      isReadable ? take(new File(["x"], name)) : fail(new Error("NotReadableError")),
  };
}

function folder(...inside: unknown[]) {
  const portions = [inside, []];
  const readEntries = (take: (portion: unknown) => void) => take(portions.shift());
  return { isFile: false, createReader: () => ({ readEntries }) };
}

test("a file of a dropped folder that can't be read is told, and the others are taken", async () => {
  const entries = [folder(file("1.png"), file("2.png", false), folder(file("3.png")))];
  const data = { items: entries.map((entry) => ({ webkitGetAsEntry: () => entry })), files: [] };
  await takeDrop(data as unknown as DataTransfer);
  expect(items.value.map((item) => item.name)).toEqual(["1.png", "3.png"]);
  expect(notice.value?.text).toBe("One file or folder could not be read.");
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
