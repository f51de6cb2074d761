/** Reads a photograph as the browser decodes it, and writes one: 8 bits, sRGB, upright. */

import { readHeader, type FileHeader } from "./file_header";
import { Line } from "./line";
import { MAX_PIXELS, megapixels } from "./messages";
import type { Pixels } from "./tiling";

/** `pixels` have 1 channel (gray) or 3; `alpha` is null for an opaque photograph. */
export interface Photo {
  pixels: Pixels;
  alpha: Pixels | null;
}

const ROWS = 512; // that are copied out of a canvas at a time

/** Decodes a file; `notes` say what was changed. */
export async function readPhoto(file: Blob): Promise<{ photo: Photo; header: FileHeader; notes: string[] }> {
  if (file.size === 0) throw new Line("the file is empty");
  const header = readHeader(new Uint8Array(await file.slice(0, 2 ** 22).arrayBuffer()));
  checkSize(header.pixels);
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file); // upright, in sRGB
  } catch {
    throw new Line("this is no image that the browser can read, or it is damaged; save it as PNG or JPEG");
  }
  try {
    checkSize(bitmap.width * bitmap.height);
    return { photo: copyPixels(bitmap, header.gray), header, notes: notesOf(header) };
  } finally {
    bitmap.close();
  }
}

function checkSize(pixels: number): void {
  if (pixels > MAX_PIXELS)
    throw new Line(`the photograph has ${megapixels(pixels)}, over this page's ${megapixels(MAX_PIXELS)}; shrink it`);
}

function notesOf(header: FileHeader): string[] {
  const notes = [];
  if (header.bits > 8) notes.push(`Its ${header.bits} bits a channel were reduced to 8.`);
  if (header.profile) notes.push("Its colours were converted from its profile to sRGB.");
  if (header.format === "GIF") notes.push("Of an animation only the first picture is read.");
  return notes;
}

function context(width: number, height: number, alpha: boolean): OffscreenCanvasRenderingContext2D {
  const found = new OffscreenCanvas(width, height).getContext("2d", { alpha, willReadFrequently: true });
  if (!found) throw new RangeError("no canvas of this size can be allocated");
  return found;
}

function copyPixels(bitmap: ImageBitmap, gray: boolean): Photo {
  const { width, height } = bitmap;
  const channels = gray ? 1 : 3;
  const values = new Uint8Array(width * height * channels);
  const alpha = new Uint8Array(width * height);
  let opaque = true;
  const strip = context(width, Math.min(ROWS, height), true);
  for (let top = 0; top < height; top += ROWS) {
    const rows = Math.min(ROWS, height - top);
    strip.clearRect(0, 0, width, rows);
    strip.drawImage(bitmap, 0, top, width, rows, 0, 0, width, rows);
    const { data } = strip.getImageData(0, 0, width, rows);
    for (let i = 0, pixel = top * width; i < data.length; i += 4, pixel++) {
      for (let c = 0; c < channels; c++) values[pixel * channels + c] = data[i + c];
      alpha[pixel] = data[i + 3];
      opaque &&= data[i + 3] === 255;
    }
  }
  return {
    pixels: { width, height, channels, values },
    alpha: opaque ? null : { width, height, channels: 1, values: alpha },
  };
}

/** Rows `first` to `end` of a photograph as a canvas takes them. */
export function imageRows({ pixels, alpha }: Photo, first: number, end: number): ImageData {
  const { width, channels, values } = pixels;
  const data = new Uint8ClampedArray((end - first) * width * 4);
  for (let i = 0, pixel = first * width; i < data.length; i += 4, pixel++) {
    for (let c = 0; c < 3; c++) data[i + c] = values[pixel * channels + (channels === 1 ? 0 : c)];
    data[i + 3] = alpha ? alpha.values[pixel] : 255;
  }
  return new ImageData(data, width, end - first);
}

/** A photograph in a canvas. */
export function onCanvas(photo: Photo): OffscreenCanvas {
  const { width, height } = photo.pixels;
  const whole = context(width, height, photo.alpha !== null);
  for (let top = 0; top < height; top += ROWS)
    whole.putImageData(imageRows(photo, top, Math.min(top + ROWS, height)), 0, top);
  return whole.canvas;
}
