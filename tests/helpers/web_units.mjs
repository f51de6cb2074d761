// Runs web_units.ts, bundled, for tests/export/test_web.py: `node web_units.mjs BUNDLE < JSON`.
import { readFileSync } from "node:fs";

const [bundle] = process.argv.slice(2);
const { Line, jpegQuality, level, lineOf, measureNoise, readHeader, restore, spans } = await import(bundle);
const asked = JSON.parse(readFileSync(0, "utf8"));

// The network of tests/helpers/tiling_vectors.py.
const network = (tile, scale, channels) => (input) => {
  const side = tile * scale;
  const output = new Float32Array(side * side * channels);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < channels; c++) {
        const pixel = Math.floor(y / scale) * tile + Math.floor(x / scale);
        output[(y * side + x) * channels + c] = Math.fround(input[pixel * channels + c] / 2) + (y + 2 * x) / 256;
      }
  return output;
};
const pixels = ({ height, width, channels, bits, pixels }) => {
  return { height, width, channels, values: (bits === 16 ? Uint16Array : Uint8Array).from(pixels) };
};

const axes = asked.axes.map((axis) => {
  const found = spans(axis.size, axis);
  return { starts: found.map(({ start }) => start), weights: found.map(({ weights }) => Array.from(weights)) };
});
const images = [];
for (const image of asked.images) {
  const { tile, scale, channels } = image;
  const rows = [];
  const onRows = (_, first, end) => rows.push([first, end]);
  const { values } = await restore(pixels(image), scale, image, network(tile, scale, channels), { onRows });
  images.push({ restored: Array.from(values), rows });
}
const broken = [NaN, Infinity, 1].map((value) => {
  try {
    return level(value, 255);
  } catch (error) {
    return error.message;
  }
});
const errors = [
  () => new Float32Array(2 ** 52), // more than any memory has
  () => new WebAssembly.Memory({ initial: 65536, maximum: 65536 }).grow(1), // what LiteRT's code runs in
  () => { throw new Error("Aborted(OOM). Build with -sASSERTIONS for more info."); }, // emscripten's own words
  () => { throw new Line("this is no photograph"); },
  () => { throw new Error("something else\nat line 3"); },
].map((attempt) => {
  try {
    return attempt();
  } catch (error) {
    return lineOf(error);
  }
});
const noises = asked.noises.map((image) => measureNoise(pixels(image)));
const headers = asked.files.map((file) => {
  const header = readHeader(readFileSync(file));
  return { ...header, quality: header.tables.length ? jpegQuality(header.tables) : null };
});
console.log(JSON.stringify({ axes, images, broken, errors, noises, headers }));
