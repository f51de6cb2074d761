/** Opens, restores and writes photographs, off the page's thread. */

import { adapt } from "./adapters";
import { choose } from "./choosing";
import { blended, enlarged } from "./enlarging";
import { jpegQuality } from "./jpeg_quality";
import { Line, lineOf } from "./line";
import { MAX_PIXELS, megapixels, type Answer, type Event, type Opened, type Request, type Restored } from "./messages";
import { start } from "./network";
import { measureNoise } from "./noise";
import { imageRows, onCanvas, readPhoto, type Photo } from "./photo";
import { restore } from "./tiling";

// The page's compiler knows no workers.
const post = self.postMessage.bind(self) as unknown as (message: Answer, transfer?: Transferable[]) => void;
const base = new URL("../", self.location.href).href; // this script lies in assets/

let given: Photo | undefined;
let restored: Photo | undefined;
let cancelled = false;

self.onmessage = async ({ data: { id, request } }: MessageEvent<{ id: number; request: Request }>) => {
  const tell = (event: Event, transfer: Transferable[] = []) => post({ id, event }, transfer);
  try {
    const result = await handle(request, tell);
    post({ id, result }, result instanceof Object && "picture" in result ? [result.picture as ImageBitmap] : []);
  } catch (error) {
    post({ id, error: lineOf(error) });
  }
};

type Tell = (event: Event, transfer?: Transferable[]) => void;

function handle(request: Request, tell: Tell): unknown {
  switch (request.kind) {
    case "open":
      return open(request.file);
    case "restore":
      return restorePhoto(request, tell);
    case "cancel":
      cancelled = true;
      return undefined;
    case "png":
      return png(request.blend);
  }
}

async function open(file: Blob): Promise<Opened> {
  given = restored = undefined; // their memory first
  const { photo, header, notes } = await readPhoto(file);
  given = photo;
  const { sigma, visible } = measureNoise(photo.pixels);
  const quality = header.tables.length ? jpegQuality(header.tables) : null;
  const { width, height, channels } = photo.pixels;
  const picture = onCanvas(photo).transferToImageBitmap();
  const choice = choose(quality, visible, channels === 1);
  return { width, height, gray: channels === 1, notes, sigma, quality, choice, picture };
}

async function restorePhoto(request: Request & { kind: "restore" }, tell: Tell): Promise<Restored> {
  if (!given) throw new Line("choose a photograph first");
  const { pixels, alpha } = given;
  const { card } = request.network;
  const size = pixels.width * pixels.height * card.scale ** 2;
  if (size > MAX_PIXELS)
    throw new Line(`the result would have ${megapixels(size)}, over this page's ${megapixels(MAX_PIXELS)}; shrink it`);
  cancelled = false;
  restored = undefined;
  tell({ kind: "stage", text: "Loading the network…" });
  const { predict, where } = await start(request.network, request.strength, request.compute, base);
  const { image, channels, tiling, predict: adapted } = adapt(pixels, card, predict, request.pattern);
  const transparency = alpha && enlarged(alpha, card.scale);
  const begin = performance.now();
  let tiles = 0;
  const result = await restore(image, card.scale, tiling, adapted, {
    onTile: async (done, total) => {
      tiles = total;
      tell({ kind: "progress", done, total });
      await nextMessage();
      if (cancelled) throw new Line("cancelled");
    },
    onRows: (whole, first, end) => {
      const rows = imageRows({ pixels: whole, alpha: transparency }, first, end);
      tell({ kind: "rows", first, rows }, [rows.data.buffer]);
    },
  }, channels);
  restored = { pixels: result, alpha: transparency };
  return { width: result.width, height: result.height, tiles, seconds: (performance.now() - begin) / 1000, where };
}

/** Lets a message of the page, as that it is cancelled, come in. */
function nextMessage(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function png(blend: number): Promise<Blob> {
  if (!given || !restored) throw new Line("restore a photograph first");
  const mixed = { ...restored, pixels: blended(restored.pixels, given.pixels, blend) };
  return onCanvas(mixed).convertToBlob({ type: "image/png" });
}
