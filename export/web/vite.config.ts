import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

const local = (path: string) => new URL(path, import.meta.url);
const headers = readFileSync(local("headers.json"), "utf8");
// With threads where the server sends headers.json's headers and the browser has relaxed SIMD; else one thread.
const LITERT = ["litert_wasm_threaded_internal", "litert_wasm_compat_internal"];

/** Puts LiteRT's WebAssembly, which finds its own files by their names, and the headers beside the page. */
function beside(): Plugin {
  return {
    name: "beside",
    generateBundle() {
      const emit = (fileName: string, source: Uint8Array | string) =>
        this.emitFile({ type: "asset", fileName, source });
      for (const name of LITERT)
        for (const extension of ["js", "wasm"])
          emit(
            `litert/${name}.${extension}`,
            readFileSync(local(`node_modules/@litertjs/core/wasm/${name}.${extension}`)),
          );
      emit("headers.json", headers);
    },
    // Where a server sends no headers, the page at least holds itself to the policy; frame-ancestors is for headers.
    transformIndexHtml() {
      const policy = JSON.parse(headers)["Content-Security-Policy"].replace(/; frame-ancestors [^;]*/, "");
      const attrs = { "http-equiv": "Content-Security-Policy", content: policy };
      return [{ tag: "meta", attrs, injectTo: "head-prepend" }];
    },
  };
}

export default defineConfig({
  base: "./",
  plugins: [beside()],
  worker: { format: "iife" }, // LiteRT is loaded by importScripts, which modules do not have
  build: {
    outDir: "../../rnan_tf/web",
    emptyOutDir: true,
    modulePreload: false,
    rolldownOptions: {
      input: { index: "index.html", service_worker: "src/service_worker.ts" },
      output: {
        entryFileNames: ({ name }) => (name === "service_worker" ? "[name].js" : "assets/[name]-[hash].js"),
      },
    },
  },
});
