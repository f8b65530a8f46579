/** The notices of all that goes into the page and its device files. */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

// What ends up in the built files; onnxruntime-web's other dependencies serve variants of it that
// are not used.
const PACKAGES = [
  "@cornerstonejs/codec-charls",
  "@cornerstonejs/codec-openjpeg",
  "@fontsource-variable/ibm-plex-sans",
  "@noble/hashes",
  "@preact/signals",
  "@preact/signals-core",
  "dicom-parser",
  "fflate",
  "onnxruntime-common",
  "onnxruntime-web",
  "preact",
  "valibot",
];
const PERMISSIVE = ["MIT", "ISC", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "OFL-1.1"];
const INSIDE = {
  "@cornerstonejs/codec-charls": "Contains CharLS (BSD-3-Clause), github.com/team-charls/charls",
  "@cornerstonejs/codec-openjpeg":
    "Contains OpenJPEG (BSD-2-Clause), github.com/uclouvain/openjpeg",
};

/** Return the text; fails where a package is not under a permissive licence. */
export function writeLicences(browser) {
  const parts = PACKAGES.map((name) => {
    const folder = join(browser, "node_modules", name);
    const { version, license, repository } = JSON.parse(
      readFileSync(join(folder, "package.json"), "utf8"),
    );
    if (!PERMISSIVE.includes(license)) throw new Error(`${name} is under ${license}`);
    const file = readdirSync(folder).find((found) => /^licen[cs]e/i.test(found));
    const source = (repository?.url ?? repository ?? "").replace(/^git\+|\.git$/g, "");
    const text = file
      ? readFileSync(join(folder, file), "utf8").trim()
      : `The package has no licence file of its own; its text lies at ${source}`;
    const lines = [`${name} ${version} (${license})`, INSIDE[name], "", text];
    return lines.filter((line) => line !== undefined).join("\n");
  });
  return `${["The page of Pneumoscope contains:", ...parts].join(`\n\n${"-".repeat(79)}\n\n`)}\n`;
}
