import { defaultClientConditions, defineConfig } from "vite";
import { longValues } from "./src/core/read/dicom/longValues";
import { offline } from "./src/sw/plugin";

// The page alone: the WASM parts and the bundle are added by scripts/device.mjs, outside of this
// build, because the page is committed and they are not.
export default defineConfig({
  // Relative, so that the page works in any folder of any host.
  base: "./",
  plugins: [offline()],
  // The variant of onnxruntime-web without its WASM glue inside: the glue is a file of its own,
  // which each of its threads loads, too, and the WASM lies in device/.
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", ...defaultClientConditions] },
  build: {
    outDir: "../src/pneumoscope/web/page",
    emptyOutDir: true,
    target: "es2022",
    sourcemap: false,
    // An inlined data: URL would need more of the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: nameAsset,
      },
    },
  },
  // Development bundles its libraries apart from the rest.
  optimizeDeps: { rolldownOptions: { plugins: [longValues()] } },
  worker: {
    format: "es",
    plugins: () => [longValues()], // it alone reads DICOM
    rolldownOptions: {
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        assetFileNames: nameAsset,
      },
    },
  },
  server: {
    headers: {
      // As the server sends them, so that threads work in development, too.
      "Cross-Origin-Opener-Policy": "same-origin",
      "Cross-Origin-Embedder-Policy": "require-corp",
    },
  },
});

/** onnxruntime's glue is named .mjs, which many hosts serve with a type that browsers refuse. */
function nameAsset(asset: { names: string[] }): string {
  const isModule = asset.names.some((name) => name.endsWith(".mjs"));
  return isModule ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]";
}
