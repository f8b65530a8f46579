/**
 * Build the page: `node scripts/build.mjs [FOLDER]`. Without a folder, into the Python package.
 * Same input, same bytes: `make check-page` builds once more and compares.
 */

import { writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { writeLicences } from "./licences.mjs";

const browser = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = process.argv[2]
  ? resolve(process.argv[2])
  : join(browser, "../src/pneumoscope/web/page");

process.chdir(browser);
await build({ root: browser, build: { outDir: folder, emptyOutDir: true } });
writeFileSync(join(folder, "LICENCES.txt"), writeLicences(browser));
