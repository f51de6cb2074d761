/** How noisy a photograph is, as rnan_tf/photos/noise.py measures it; sigmas that differ over it are not. */

import type { Pixels } from "./tiling";

// Daubechies' wavelet db2.
const LOW = [-0.12940952255126037, 0.2241438680420134, 0.8365163037378079, 0.48296291314453414];
const HIGH = [-LOW[3], LOW[2], -LOW[1], LOW[0]];
const NORMAL = 0.6745; // the median of a standard normal deviate's absolute value
const THIN = 6; // across fewer pixels wavelets see their own continuation of the image
const BLOCK = 64;
const QUIETEST = 10; // one block in so many
const WHITE = 1.5;
// Blocks with more pixels at the ends of the range are left out, if so many others remain.
const CLIPPED = 0.1;
const LOOKED_AT = 0.25;
// Luma, then chroma, each of the same sigma as the channels where their noise is white.
const OPPONENTS = [
  [1, 1, 1].map((value) => value / Math.sqrt(3)),
  [1, 0, -1].map((value) => value / Math.sqrt(2)),
  [1, -2, 1].map((value) => value / Math.sqrt(6)),
];

interface Plane {
  height: number;
  width: number;
  values: Float32Array;
}

export interface Noise {
  /** The standard deviation that the finest wavelet coefficients have, 0-255 scale; fine texture counts. */
  sigma: number;
  /** That of the quietest tenth of the photograph; 0 where it holds texture, or the photograph is too small to tell. */
  visible: number;
}

/** Measures both. */
export function measureNoise(pixels: Pixels): Noise {
  const { height, width, channels } = pixels;
  const isThin = Math.min(height, width) < THIN;
  const isLookedAt = lookedAt(pixels);
  const unclipped = isLookedAt.every(Boolean) ? pixels : inOneRow(pixels, isLookedAt);
  let sigma = 0;
  for (let c = 0; c < channels; c++) {
    const plane = channel(unclipped, c);
    const diagonal = isThin ? filter(oneRow(plane), HIGH) : onBothAxes(plane, HIGH);
    sigma += sigmaOf(diagonal.values.filter((value) => value !== 0)) / channels;
  }
  // An image with a single colour has no coefficient.
  return {
    sigma: Number.isFinite(sigma) ? sigma : 0,
    visible: isLookedAt.length ? visible(...sigmasOfBlocks(pixels, isLookedAt)) : 0,
  };
}

/** Whether each block counts; there are none in photographs that are too small. */
function lookedAt({ height, width, channels, values }: Pixels): boolean[] {
  const [rows, columns] = [Math.floor(height / BLOCK), Math.floor(width / BLOCK)];
  const clipped = new Array<number>(rows * columns).fill(0);
  for (let y = 0; y < rows * BLOCK; y++)
    for (let i = 0; i < columns * BLOCK * channels; i++) {
      const value = values[y * width * channels + i];
      if (value === 0 || value === 255)
        clipped[Math.floor(y / BLOCK) * columns + Math.floor(i / (BLOCK * channels))]++;
    }
  const usable = clipped.map((count) => count < CLIPPED * BLOCK * BLOCK * channels);
  const enough = usable.filter(Boolean).length >= LOOKED_AT * usable.length;
  return usable.map((block) => block || !enough);
}

/** The blocks that are looked at, beside each other. */
function inOneRow({ width, channels, values }: Pixels, isLookedAt: boolean[]): Pixels {
  const columns = Math.floor(width / BLOCK);
  const kept = isLookedAt.flatMap((looked, block) => (looked ? [block] : []));
  const length = BLOCK * channels;
  const row = values.slice(0, BLOCK * kept.length * length); // of the same kind; all of it is written over
  kept.forEach((block, place) => {
    const [top, left] = [Math.floor(block / columns) * BLOCK, (block % columns) * BLOCK];
    for (let y = 0; y < BLOCK; y++) {
      const first = ((top + y) * width + left) * channels;
      row.set(values.subarray(first, first + length), (y * kept.length + place) * length);
    }
  });
  return { height: BLOCK, width: BLOCK * kept.length, channels, values: row };
}

/** Of blocks the sigmas of the finest scale and of the second: the root of the mean square over the channels. */
function sigmasOfBlocks(pixels: Pixels, isLookedAt: boolean[]): [number[], number[]] {
  const rows = Math.floor(pixels.height / BLOCK);
  const squares: [number[], number[]] = [[], []];
  for (let row = 0; row < rows; row++) {
    const found = opponents(pixels, row * BLOCK).map((plane) => {
      const finest = blockSigmas(onBothAxes(plane, HIGH, true), BLOCK / 2);
      return [finest, blockSigmas(onBothAxes(onBothAxes(plane, LOW, true), HIGH, true), BLOCK / 4)];
    });
    squares.forEach((list, scale) => list.push(...meanSquares(found.map((sigmas) => sigmas[scale]))));
  }
  const [finest, second] = squares.map((list) => list.filter((_, block) => isLookedAt[block]).map(Math.sqrt));
  return [finest, second];
}

/** The planes of a row of whole blocks, which begins at `top`. */
function opponents({ width, channels, values }: Pixels, top: number): Plane[] {
  const across = Math.floor(width / BLOCK) * BLOCK;
  const mixes = channels === 3 ? OPPONENTS : [[1]];
  return mixes.map((mix) => {
    const plane = new Float32Array(BLOCK * across);
    for (let y = 0; y < BLOCK; y++)
      for (let x = 0; x < across; x++) {
        const first = ((top + y) * width + x) * channels;
        plane[y * across + x] = mix.reduce((sum, share, c) => sum + share * values[first + c], 0);
      }
    return { height: BLOCK, width: across, values: plane };
  });
}

function visible(finest: number[], second: number[]): number {
  const order = finest.map((_, i) => i).sort((a, b) => finest[a] - finest[b]);
  const quiet = order.slice(0, Math.max(1, Math.floor(order.length / QUIETEST)));
  // White noise has equal coefficients at both scales; texture has larger ones at the second.
  const ratio = median(Float32Array.from(quiet, (i) => second[i] / Math.max(finest[i], 1e-6)));
  return ratio < WHITE ? finest[quiet.at(-1)!] : 0;
}

const meanSquares = (lists: number[][]): number[] =>
  lists[0].map((_, i) => lists.reduce((sum, list) => sum + list[i] ** 2, 0) / lists.length);

function channel({ height, width, channels, values }: Pixels, c: number): Plane {
  const plane = new Float32Array(height * width);
  for (let i = 0; i < plane.length; i++) plane[i] = values[i * channels + c];
  return { height, width, values: plane };
}

/** A thin image as one long row, along its longer side. */
function oneRow(plane: Plane): Plane {
  const { values } = plane.height <= plane.width ? plane : transposed(plane);
  return { height: 1, width: values.length, values };
}

function transposed({ height, width, values }: Plane): Plane {
  const turned = new Float32Array(values.length);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) turned[x * height + y] = values[y * width + x];
  return { height: width, width: height, values: turned };
}

const onBothAxes = (plane: Plane, taps: number[], periodic = false): Plane =>
  transposed(filter(transposed(filter(plane, taps, periodic)), taps, periodic));

/**
 * Every other value of the rows' convolution. Beyond their ends they begin again where they are periodic, else they are
 * reflected, the last value twice.
 */
function filter({ height, width, values }: Plane, taps: number[], periodic = false): Plane {
  const length = periodic ? width / 2 : Math.floor((width + taps.length - 1) / 2);
  const first = periodic ? taps.length / 2 : 1;
  const result = new Float32Array(height * length);
  for (let y = 0; y < height; y++)
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (let k = 0; k < taps.length; k++) {
        let x = 2 * i + first - k;
        if (periodic) x = (x + width) % width;
        while (x < 0 || x >= width) x = x < 0 ? -1 - x : 2 * width - 1 - x;
        sum += taps[k] * values[y * width + x];
      }
      result[y * length + i] = sum;
    }
  return { height, width: length, values: result };
}

/** The sigma of each block of a row of them. */
function blockSigmas({ width, values }: Plane, block: number): number[] {
  const sigma = (column: number) => {
    const at = (i: number) => values[Math.floor(i / block) * width + column * block + (i % block)];
    return sigmaOf(Float32Array.from({ length: block * block }, (_, i) => at(i)));
  };
  return Array.from({ length: width / block }, (_, column) => sigma(column));
}

const sigmaOf = (values: Float32Array): number => median(values.map(Math.abs)) / NORMAL;

function median(values: Float32Array): number {
  const sorted = values.sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
