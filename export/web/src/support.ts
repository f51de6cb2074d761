/** What the page needs of a browser. */

// A function that returns a 128-bit zero.
const SIMD = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 22, 1, 20, 0, 253, 12],
  ...Array(16).fill(0),
  11,
);

/** What this browser lacks, as a line; an empty one if nothing. */
export function missing(): string {
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(SIMD))
    return "this browser has no WebAssembly SIMD, without which the networks cannot run; update it, or take another";
  if (typeof OffscreenCanvas !== "function" || typeof Worker !== "function")
    return "this browser cannot work on pictures in the background; update it, or take another";
  if (!isSecureContext) return "networks are only checked on https:// pages and on this device; open this page so";
  return "";
}

/** Whether WebGPU has a graphics processor, and is not imitated on the processor. */
export function realGpu(adapter: GPUAdapter): boolean {
  return !(adapter.info as { isFallbackAdapter?: boolean }).isFallbackAdapter && adapter.info.vendor !== "google";
}
