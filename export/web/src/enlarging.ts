/** Bicubic enlargement as Pillow's, and the mixture of a photograph with its restoration. */

import { level, peak, roundEven, type Pixels } from "./tiling";

/** The four neighbours of each pixel of the larger axis, and their weights. */
function kernel(size: number, scale: number): { first: number; weights: number[] }[] {
  return Array.from({ length: size * scale }, (_, i) => {
    const center = (i + 0.5) / scale;
    const first = Math.max(Math.floor(center - 2 + 0.5), 0);
    const end = Math.min(Math.floor(center + 2 + 0.5), size);
    const weights = Array.from({ length: end - first }, (_, k) => cubic(Math.abs(first + k - center + 0.5)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return { first, weights: weights.map((weight) => weight / total) };
  });
}

/** Keys' cubic with a = -0.5. */
function cubic(x: number): number {
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/** Enlarges one channel of an image; values in [0, 1], not clipped. */
export function enlarge(image: Pixels, channel: number, scale: number): Float32Array {
  const { height, width, channels, values } = image;
  const highest = peak(values);
  const wide = new Float32Array(height * width * scale);
  const across = kernel(width, scale);
  for (let y = 0; y < height; y++)
    across.forEach(({ first, weights }, x) => {
      let sum = 0;
      const start = (y * width + first) * channels + channel;
      weights.forEach((weight, k) => (sum += (weight * values[start + k * channels]) / highest));
      wide[y * width * scale + x] = sum;
    });
  const line = width * scale;
  const large = new Float32Array(height * scale * line);
  kernel(height, scale).forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = 0;
      weights.forEach((weight, k) => (sum += weight * wide[(first + k) * line + x]));
      large[y * line + x] = sum;
    }
  });
  return large;
}

/** Enlarges an image, rounded as it was. */
export function enlarged(image: Pixels, scale: number): Pixels {
  const { height, width, channels, values } = image;
  if (scale === 1) return image;
  const result = new Uint8Array(height * width * scale * scale * channels);
  for (let c = 0; c < channels; c++) {
    const large = enlarge(image, c, scale);
    for (let i = 0; i < large.length; i++) result[i * channels + c] = level(large[i], peak(values));
  }
  return { height: height * scale, width: width * scale, channels, values: result };
}

/** Mixes a restored image with the given one, of which the rest is. */
export function blended(restored: Pixels, given: Pixels, blend: number): Pixels {
  if (blend === 1) return restored;
  const large = enlarged(given, restored.height / given.height).values;
  const values = restored.values.map((value, i) => roundEven(Math.fround(blend * value + (1 - blend) * large[i])));
  return { ...restored, values };
}
