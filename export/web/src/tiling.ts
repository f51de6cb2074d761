/** Cuts images into overlapping tiles and blends what a network makes of them, as rnan_tf/restoring/tiling.py does. */

import { Line } from "./line";

/** An image as it is in a file, row by row, channels last. */
export interface Pixels {
  height: number;
  width: number;
  channels: number;
  values: Uint8Array | Uint16Array;
}

/** The side of the only tiles that a network takes, and the pixels that neighbours share. */
export interface Tiling {
  tile: number;
  overlap: number;
}

/** A tile's place on an axis, and how much each of its pixels counts. */
export interface Span {
  start: number;
  weights: Float32Array;
}

/** Maps tile * tile * channels values in [0, 1] to the (scale * tile)^2 * channels values that the network gives. */
export type Predictor = (tile: Float32Array) => Float32Array | Promise<Float32Array>;

/** What is told while an image is restored; what `onTile` throws ends the restoration. */
export interface Watcher {
  onTile?: (done: number, total: number) => void | Promise<void>;
  onRows?: (restored: Pixels, first: number, end: number) => void;
}

/** Tiles begin at multiples of this, which keeps the phase of strides and of the mosaic. */
const MULTIPLE = 4;

/** The largest value of an image. */
export const peak = (values: Uint8Array | Uint16Array): number => (values.BYTES_PER_ELEMENT === 1 ? 255 : 65535);

/** Covers an axis by tiles whose weights add up to 1 at every pixel. */
export function spans(size: number, { tile, overlap }: Tiling): Span[] {
  const padded = Math.max(Math.ceil(size / MULTIPLE) * MULTIPLE, tile);
  const count = Math.max(Math.ceil((padded - overlap) / (tile - overlap)), 1);
  const starts = Array.from({ length: count }, (_, i) => Math.min(i * (tile - overlap), padded - tile));
  // Zero over the outer quarter of the overlap, where a tile lacks context, then a linear ramp.
  const ramp = (i: number) =>
    Math.min(Math.max((i + 0.5 - overlap / 4) / Math.max(overlap / 2, 1), 1e-6), 1);
  const weights = starts.map((start) =>
    Float64Array.from(
      { length: tile },
      (_, i) => (start > 0 ? ramp(i) : 1) * (start + tile < padded ? ramp(tile - 1 - i) : 1),
    ),
  );
  const total = new Float64Array(padded);
  starts.forEach((start, k) => weights[k].forEach((weight, i) => (total[start + i] += weight)));
  return starts.map((start, k) => ({
    start,
    weights: Float32Array.from(weights[k], (weight, i) => weight / total[start + i]),
  }));
}

/** Restores an image of any size; `channels` are the result's, if it has others than the image. */
export async function restore(
  image: Pixels,
  scale: number,
  tiling: Tiling,
  predict: Predictor,
  { onTile, onRows }: Watcher = {},
  channels: number = image.channels,
): Promise<Pixels> {
  const rows = spans(image.height, tiling);
  const columns = spans(image.width, tiling);
  const side = tiling.tile * scale;
  const line = (columns.at(-1)!.start * scale + side) * channels;
  const restored: Pixels = {
    height: image.height * scale,
    width: image.width * scale,
    channels,
    values: new (image.values.BYTES_PER_ELEMENT === 1 ? Uint8Array : Uint16Array)(
      image.height * scale * image.width * scale * channels,
    ),
  };
  const band = new Float32Array(side * line);
  for (const [number, row] of rows.entries()) {
    for (const [k, column] of columns.entries()) {
      const output = await predict(cut(image, row.start, column.start, tiling.tile));
      add(band, line, scale, channels, row, column, output);
      await onTile?.(number * columns.length + k + 1, rows.length * columns.length);
    }
    // Rows above the next tiles are complete; the others are carried over.
    const done = ((rows[number + 1]?.start ?? row.start + tiling.tile) - row.start) * scale;
    const first = row.start * scale;
    const end = Math.min(first + done, restored.height);
    round(band, line, restored, first, end);
    onRows?.(restored, first, end);
    band.copyWithin(0, done * line);
    band.fill(0, (side - done) * line);
  }
  return restored;
}

/** Where a pixel beyond the bottom or the right of an image, whose reflection goes on there, is taken from. */
export function reflect(i: number, size: number): number {
  if (size === 1) return 0;
  const turned = i % (2 * (size - 1));
  return Math.min(turned, 2 * (size - 1) - turned);
}

function cut({ height, width, channels, values }: Pixels, top: number, left: number, tile: number): Float32Array {
  const result = new Float32Array(tile * tile * channels);
  const highest = peak(values);
  let next = 0;
  for (let y = top; y < top + tile; y++) {
    const row = reflect(y, height) * width;
    for (let x = left; x < left + tile; x++) {
      const pixel = (row + reflect(x, width)) * channels;
      for (let c = 0; c < channels; c++) result[next++] = values[pixel + c] / highest;
    }
  }
  return result;
}

function add(
  band: Float32Array,
  line: number,
  scale: number,
  channels: number,
  row: Span,
  column: Span,
  output: Float32Array,
): void {
  const side = row.weights.length * scale;
  let next = 0;
  for (let y = 0; y < side; y++) {
    const vertical = row.weights[Math.floor(y / scale)];
    let target = y * line + column.start * scale * channels;
    for (let x = 0; x < side; x++) {
      const weight = Math.fround(vertical * column.weights[Math.floor(x / scale)]);
      for (let c = 0; c < channels; c++) band[target++] += Math.fround(output[next++] * weight);
    }
  }
}

function round(band: Float32Array, line: number, restored: Pixels, first: number, end: number): void {
  const { width, channels, values } = restored;
  for (let y = first; y < end; y++)
    for (let i = 0; i < width * channels; i++)
      values[y * width * channels + i] = level(band[(y - first) * line + i], peak(values));
}

/** Clips to [0, 1], scales, and rounds to the nearest level. */
export function level(value: number, highest: number): number {
  if (!Number.isFinite(value)) throw new Line("the network's values are not finite; choose the processor to compute");
  return roundEven(Math.fround(Math.min(Math.max(value, 0), 1) * highest));
}

/** Rounds to the nearest whole number, halves to the even one. */
export function roundEven(value: number): number {
  const nearest = Math.round(value);
  return nearest - value === 0.5 && nearest % 2 === 1 ? nearest - 1 : nearest;
}
