import { defineConfig } from "vitest/config";
import { kernels } from "./kernels/build.mjs";

// Served by `opensam serve` and `opensam annotate`. Names carry no digest: the built files are in git, and a change
// should replace a file, not add one.
export default defineConfig({
  base: "./",
  plugins: [kernels()],
  build: {
    outDir: "../src/opensam/serve/static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    rollupOptions: {
      output: { entryFileNames: "app.js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
    },
  },
  worker: {
    format: "es",
    rollupOptions: {
      output: { entryFileNames: "[name].js", chunkFileNames: "[name].js", assetFileNames: "[name][extname]" },
    },
  },
  test: { css: true }, // test/contrast.test.ts reads the colours
  server: {
    headers: { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" },
    proxy: { "/v1": "http://127.0.0.1:8000", "/healthz": "http://127.0.0.1:8000" },
  },
});
