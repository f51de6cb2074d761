/** Photographs as they come, for networks that want others; as rnan_tf/restoring/adapters.py does it. */

import { Line } from "./line";
import { PATTERNS, type Card, type Pattern } from "./messages";
import { reflect, type Pixels, type Predictor, type Tiling } from "./tiling";

/** How an image is cut up, what it is cut from, and what restores a tile; the result has `channels`. */
export interface Adapted {
  image: Pixels;
  channels: number;
  tiling: Tiling;
  predict: Predictor;
}

// The colour of each channel that a pattern's letter names.
const COLOURS = "RGB";

/** Adapts a network to a photograph; `pattern` is a mosaic's, its colours at (0,0) (0,1) (1,0) (1,1). */
export function adapt(image: Pixels, card: Card, network: Predictor, pattern: Pattern): Adapted {
  const { tile, overlap } = card;
  const given = { image, channels: image.channels, tiling: { tile, overlap } };
  if (card.mosaic) {
    // A mosaic of another phase gets a row or a column more before the network sees it.
    const side = pattern === PATTERNS[0] ? tile : tile - 4;
    const tiling = { tile: side, overlap: Math.min(overlap, Math.floor(side / 8) * 4) };
    return { image: asBayer(image, pattern), channels: 3, tiling, predict: fromBayer(network, side, tile, pattern) };
  }
  if (card.of_luma && image.channels === 3) return { ...given, predict: onLuma(network) };
  if (card.channels < image.channels) return { ...given, predict: onEachChannel(network) };
  if (card.channels > image.channels) return { ...given, predict: onGray(network) };
  return { ...given, predict: network };
}

/** The colour, 0 to 2, that a pattern samples at a pixel. */
const sampled = (pattern: Pattern, y: number, x: number): number => COLOURS.indexOf(pattern[2 * (y % 2) + (x % 2)]);

/** The samples of a mosaic: a gray image's values, or those of an RGB one whose others are zero. */
function asBayer({ height, width, channels, values }: Pixels, pattern: Pattern): Pixels {
  if (channels === 1) return { height, width, channels, values };
  const samples = new Uint8Array(height * width);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const pixel = y * width + x;
      const colour = sampled(pattern, y, x);
      samples[pixel] = values[3 * pixel + colour];
      if ([0, 1, 2].some((c) => c !== colour && values[3 * pixel + c]))
        throw new Line(
          `this is no ${pattern} mosaic: values that its sensor does not sample are not zero; choose the right ` +
            "pattern, or take the single-channel Bayer image",
        );
    }
  return { height, width, channels: 1, values: samples };
}

/** Sets samples into three channels, shifts them to the phase that the network was trained on, and back. */
function fromBayer(network: Predictor, side: number, tile: number, pattern: Pattern): Predictor {
  const shift = PATTERNS.indexOf(pattern);
  const [down, right] = [shift >> 1, shift & 1];
  return async (samples) => {
    const input = new Float32Array(tile * tile * 3);
    for (let y = 0; y < tile; y++)
      for (let x = 0; x < tile; x++) {
        // Reflected at the top and the left by the shift, then at the bottom and the right up to the tile.
        const row = Math.abs(reflect(y, side + down) - down);
        const column = Math.abs(reflect(x, side + right) - right);
        input[(y * tile + x) * 3 + sampled(pattern, row, column)] = samples[row * side + column];
      }
    const output = await network(input);
    if (side === tile) return output;
    const result = new Float32Array(side * side * 3);
    for (let y = 0; y < side; y++) {
      const from = ((y + down) * tile + right) * 3;
      result.set(output.subarray(from, from + side * 3), y * side * 3);
    }
    return result;
  };
}

/** Restores the luma of a colour JPEG, in YCbCr, where the codec worked. */
function onLuma(network: Predictor): Predictor {
  return async (rgb) => {
    const luma = new Float32Array(rgb.length / 3);
    for (let i = 0; i < luma.length; i++)
      luma[i] = 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2];
    const restored = await network(luma.slice());
    const result = new Float32Array(rgb.length);
    // The chroma stays: red - luma and blue - luma keep their values.
    for (let i = 0; i < luma.length; i++) {
      const red = restored[i] + (rgb[3 * i] - luma[i]);
      const blue = restored[i] + (rgb[3 * i + 2] - luma[i]);
      result[3 * i] = red;
      result[3 * i + 1] = (restored[i] - 0.299 * red - 0.114 * blue) / 0.587;
      result[3 * i + 2] = blue;
    }
    return result;
  };
}

function onEachChannel(network: Predictor): Predictor {
  return async (rgb) => {
    const result = new Float32Array(rgb.length);
    for (let c = 0; c < 3; c++) {
      const restored = await network(Float32Array.from({ length: rgb.length / 3 }, (_, i) => rgb[3 * i + c]));
      restored.forEach((value, i) => (result[3 * i + c] = value));
    }
    return result;
  };
}

function onGray(network: Predictor): Predictor {
  return async (gray) => {
    const restored = await network(Float32Array.from({ length: gray.length * 3 }, (_, i) => gray[Math.floor(i / 3)]));
    const mean = (i: number) => (restored[3 * i] + restored[3 * i + 1] + restored[3 * i + 2]) / 3;
    return Float32Array.from({ length: restored.length / 3 }, (_, i) => mean(i));
  };
}
