import { defineConfig } from "vitest/config";
import { longValues } from "./src/core/read/dicom/longValues";

export default defineConfig({
  plugins: [longValues()],
  test: {
    server: { deps: { inline: ["dicom-parser"] } },
    include: ["tests/**/*.test.ts"],
    testTimeout: 30_000, // a machine that is busy with something else is no fault of the page
  },
});
