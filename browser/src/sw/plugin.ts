/** Build the service worker with the list of all that the page is made of. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";

const FILE_NAME = "sw.js";
const SOURCE = fileURLToPath(new URL("./worker.ts", import.meta.url));

/**
 * Return a plugin that writes sw.js beside index.html, under a name that never changes.
 *
 * Its list has every file of the build and of the public folder, and one hash over their contents:
 * the same page gives the same sw.js, and any change gives another.
 */
export function offline(): Plugin {
  let publicFolder = "";
  return {
    name: "pneumoscope-offline",
    apply: "build",
    enforce: "post",
    configResolved(config) {
      publicFolder = config.publicDir;
    },
    buildStart() {
      this.emitFile({
        type: "chunk",
        id: SOURCE,
        fileName: FILE_NAME,
        preserveSignature: false,
      });
    },
    generateBundle: {
      order: "post",
      handler(_, bundle) {
        const files = new Map<string, string | Uint8Array>();
        for (const [name, output] of Object.entries(bundle)) {
          files.set(name, output.type === "chunk" ? output.code : output.source);
        }
        for (const path of listFiles(publicFolder)) {
          files.set(relative(publicFolder, path).split(sep).join("/"), readFileSync(path));
        }
        const worker = bundle[FILE_NAME];
        if (worker?.type !== "chunk") throw new Error(`${FILE_NAME} was not built from ${SOURCE}`);
        worker.code = worker.code.replaceAll("__PRECACHE__", JSON.stringify(listPage(files)));
      },
    },
  };
}

function listPage(files: Map<string, string | Uint8Array>): { version: string; urls: string[] } {
  const names = [...files.keys()].filter((name) => !name.endsWith(".md")).sort();
  const hash = createHash("sha256");
  // sw.js is among them, so that a change of its own code is a new version, too.
  for (const name of names) hash.update(`${name}\0`).update(files.get(name) ?? "");
  // Not "index.html": some hosts send that on to the folder, and a browser refuses to open a page
  // from a reply that was sent on.
  const urls = names.filter((name) => name !== FILE_NAME);
  return {
    version: hash.digest("hex").slice(0, 16),
    urls: urls.map((name) => (name === "index.html" ? "./" : name)),
  };
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
