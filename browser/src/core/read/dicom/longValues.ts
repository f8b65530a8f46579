/** Mend dicom-parser 1.8.21 as it is built in: it knows ten of the thirteen long kinds of value. */

import type { Plugin } from "vite";

const FILE = "/dicom-parser/dist/dicomParser.min.js";
const KNOWN = '"OL"===e||';
const MISSING = '"OV"===e||"SV"===e||"UV"===e||';

/**
 * Return a plugin that adds OV, SV and UV to the kinds whose length takes four bytes.
 *
 * Without them a file with an Extended Offset Table (7FE0,0001), of VR OV, can't be read.
 * Source: DICOM PS3.5, 7.1.2.
 */
export function longValues(): Plugin {
  return {
    name: "pneumoscope-long-values",
    enforce: "pre",
    transform(code, id) {
      if (!id.split("?")[0].replaceAll("\\", "/").endsWith(FILE)) return null;
      if (code.split(KNOWN).length !== 2) {
        throw new Error("dicom-parser is another than the one that longValues.ts mends.");
      }
      return { code: code.replace(KNOWN, KNOWN + MISSING), map: null };
    },
  };
}
