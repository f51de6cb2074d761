/** What the page and its worker tell each other. */

/** What a network is for and how it wants its images; as rnan_tf/restoring/card.py has it. */
export interface Card {
  task: string;
  scale: number;
  channels: number;
  strength: "sigma" | "quality" | null;
  strengths: [number, number] | null;
  conditional: boolean;
  tile: number;
  overlap: number;
  mosaic: boolean;
  of_luma: boolean;
}

export interface NetworkFile {
  file: string;
  sha256: string;
  bytes: number;
}

export interface Network {
  card: Card;
  int8: NetworkFile;
  float16?: NetworkFile;
}

/** Where a network computes: WebAssembly, or WebGPU. */
export type Compute = "wasm" | "webgpu";

export const PATTERNS = ["GRBG", "RGGB", "BGGR", "GBRG"] as const;
export type Pattern = (typeof PATTERNS)[number];

export type Request =
  | { kind: "open"; file: Blob }
  | { kind: "restore"; network: Network; strength: number; pattern: Pattern; compute: Compute }
  | { kind: "cancel" }
  | { kind: "png"; blend: number };

/** A photograph as it was read. */
export interface Opened {
  width: number;
  height: number;
  gray: boolean;
  /** What was changed while it was read, a sentence each. */
  notes: string[];
  /** The noise's estimated sigma, and the JPEG file's quality. */
  sigma: number;
  quality: number | null;
  choice: Choice;
  picture: ImageBitmap;
}

/** What a photograph needs by its look: a preset's name, or null for nothing, and why. */
export interface Choice {
  preset: string | null;
  reason: string;
}

export interface Restored {
  width: number;
  height: number;
  tiles: number;
  seconds: number;
  /** Where it was computed, as the reader is told. */
  where: string;
}

/** What comes while a request is worked on. Rows of the result are `first` to `first + rows.height`. */
export type Event =
  | { kind: "stage"; text: string }
  | { kind: "progress"; done: number; total: number }
  | { kind: "rows"; first: number; rows: ImageData };

export type Answer = { id: number } & ({ event: Event } | { result: unknown } | { error: string });

/** Pixels of the largest result, and of the largest photograph that is opened. */
export const MAX_PIXELS = 25_000_000;
export const megapixels = (pixels: number): string => `${(pixels / 1e6).toFixed(pixels < 1e7 ? 1 : 0)} Mpixel`;
