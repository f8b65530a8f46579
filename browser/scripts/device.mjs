/**
 * Write what the page needs to answer on a device alone: src/pneumoscope/web/device, and site/,
 * which any host can serve. Same input, same bytes. `make web` calls this after `vite build`.
 */

import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const browser = dirname(dirname(fileURLToPath(import.meta.url)));
const web = join(browser, "../src/pneumoscope/web");
const bundle = join(browser, "../src/pneumoscope/bundles/pneumoscope-1.onnx");
const site = join(browser, "../site");

const PARTS = {
  runtime: "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  "jpeg-ls": "@cornerstonejs/codec-charls/dist/charlswasm_decode.wasm",
  "jpeg-2000": "@cornerstonejs/codec-openjpeg/dist/openjpegwasm_decode.wasm",
};
const NAMES = { runtime: "ort", "jpeg-ls": "jpeg-ls", "jpeg-2000": "jpeg-2000" };

const files = {};
const written = {};
const device = join(web, "device");
rmSync(device, { recursive: true, force: true });
mkdirSync(device, { recursive: true });
for (const [part, path] of Object.entries(PARTS)) {
  const bytes = readFileSync(join(browser, "node_modules", path));
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  // The hash in the name lets a host tell browsers to keep the file for ever.
  const name = `${NAMES[part]}-${sha256.slice(0, 8)}.wasm`;
  writeFileSync(join(device, name), bytes);
  files[name] = { sha256, bytes: bytes.length };
  written[part] = name;
}
const { version } = JSON.parse(
  readFileSync(join(browser, "node_modules/onnxruntime-web/package.json"), "utf8"),
);
const { runtime, ...codecs } = written;
const list = { files, bundle: "bundle.onnx", runtime: { file: runtime, version }, codecs };
writeFileSync(join(device, "device.json"), `${JSON.stringify(list, null, 2)}\n`);

rmSync(site, { recursive: true, force: true });
cpSync(join(web, "page"), site, { recursive: true });
cpSync(device, join(site, "device"), { recursive: true });
cpSync(bundle, join(site, "device/bundle.onnx"));
const [sha256] = readFileSync(`${bundle}.sha256`, "utf8").split(/\s+/);
writeFileSync(join(site, "device/bundle.onnx.sha256"), `${sha256}  bundle.onnx\n`);
