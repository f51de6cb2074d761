/** Loads networks, checked by their sha256, and runs them with LiteRT on WebAssembly or WebGPU. */

import {
  getWebGpuDevice,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
  Tensor,
  type CompiledModel,
} from "@litertjs/core";
import { Line } from "./line";
import type { Compute, Network } from "./messages";
import type { Predictor } from "./tiling";

const MOST_THREADS = 8;

export interface Running {
  predict: Predictor;
  /** Where it computes, as the reader is told. */
  where: string;
}

let litert: Promise<number> | undefined; // the threads that it has
const compiled = new Map<string, CompiledModel>();

/** Gets a network ready at a strength, in the user's unit; `base` is the page's folder. */
export async function start(network: Network, strength: number, compute: Compute, base: string): Promise<Running> {
  const threads = await (litert ??= loadRuntime(base));
  const onGpu = compute === "webgpu";
  const model = await compile(network, onGpu, threads, base);
  const { card } = network;
  const inputs = (tile: Float32Array): Record<string, Tensor> => {
    const image = new Tensor(tile, [1, card.tile, card.tile, card.channels]);
    // Networks know strengths as a part of 255.
    return card.conditional ? { image, level: new Tensor(new Float32Array([strength / 255]), [1]) } : { image };
  };
  const predict = (tile: Float32Array) => run(model, inputs(tile), onGpu);
  const processor = threads > 1 ? `the processor, ${threads} threads` : "the processor, 1 thread";
  return { predict, where: onGpu ? "the graphics processor" : processor };
}

async function loadRuntime(base: string): Promise<number> {
  const threaded = self.crossOriginIsolated && (await supportsFeature("relaxedSimd"));
  const folder = new URL("litert/", base).href;
  const script = `${folder}litert_wasm_${threaded ? "threaded" : "compat"}_internal.js`;
  // In a worker it would look for its files beside the worker's script.
  Object.assign(self, { Module: { mainScriptUrlOrBlob: script, locateFile: (name: string) => folder + name } });
  try {
    await loadLiteRt(script);
  } catch (error) {
    litert = undefined;
    throw error instanceof RangeError ? error : new Line(`LiteRT cannot be started (${error}); load the page again`);
  }
  return threaded ? Math.min(navigator.hardwareConcurrency, MOST_THREADS) : 1;
}

async function compile(network: Network, onGpu: boolean, threads: number, base: string): Promise<CompiledModel> {
  const file = onGpu ? network.float16 : network.int8;
  if (!file) throw new Line("there is no float16 network here for the graphics processor; choose the processor");
  if (onGpu && !getWebGpuDevice()) throw new Line("the browser gives no graphics processor; choose the processor");
  const known = compiled.get(file.sha256);
  if (known) return known;
  const model = await loadAndCompile(await download(file, base), {
    accelerator: onGpu ? "webgpu" : "wasm",
    cpuOptions: { numThreads: threads },
    gpuOptions: { precision: "fp32" }, // the networks were not tried with float16 arithmetic
  });
  for (const [name, other] of compiled) {
    other.delete(); // WebAssembly's memory does not shrink
    compiled.delete(name);
  }
  compiled.set(file.sha256, model);
  return model;
}

async function download(file: { file: string; sha256: string }, base: string): Promise<Uint8Array> {
  // The hash in the address: whatever keeps files by their address keeps the right one.
  const address = new URL(`${file.file}?${file.sha256.slice(0, 16)}`, base);
  const response = await fetch(address).catch(() => undefined);
  if (!response?.ok) throw new Line(`the network ${file.file} cannot be loaded; is the connection there?`);
  const content = await response.arrayBuffer();
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  if (Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("") !== file.sha256)
    throw new Line(`the network ${file.file} is damaged or another one; load the page again`);
  return new Uint8Array(content);
}

async function run(model: CompiledModel, inputs: Record<string, Tensor>, onGpu: boolean): Promise<Float32Array> {
  try {
    const running = model.run(inputs).then(async ({ restored }) => {
      const values = (await restored.data()) as Float32Array;
      const copy = values.slice(); // of WebAssembly's memory
      restored.delete();
      return copy;
    });
    return await (onGpu ? Promise.race([running, lost()]) : running);
  } finally {
    for (const tensor of Object.values(inputs)) if (!tensor.deleted) tensor.delete();
  }
}

async function lost(): Promise<never> {
  const { message } = await getWebGpuDevice()!.lost;
  compiled.clear();
  throw new Line(`the graphics processor was lost (${message || "no reason is given"}); choose the processor`);
}
