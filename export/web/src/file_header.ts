/** What an image file's bytes say that a browser does not tell: size, depth, gray, colour profile, JPEG tables. */

export interface FileHeader {
  format: "PNG" | "JPEG" | "GIF" | "BMP" | "WebP" | "AVIF" | null;
  /** Width times height; 0 if the header does not tell. */
  pixels: number;
  gray: boolean;
  bits: number;
  profile: boolean;
  /** Of a JPEG: the quantisation tables of luma and chroma, 64 numbers each in zigzag order. */
  tables: number[][];
}

/** Reads a file's header. A damaged one says nothing; whether the file is an image, the browser's decoder finds. */
export function readHeader(data: Uint8Array): FileHeader {
  const header: FileHeader = { format: null, pixels: 0, gray: false, bits: 8, profile: false, tables: [] };
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const text = (start: number, length: number) => String.fromCharCode(...data.subarray(start, start + length));
  try {
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") readPng(view, text, header);
    else if (text(0, 3) === "\xff\xd8\xff") readJpeg(view, text, header);
    else if (text(0, 4) === "GIF8") setSize(header, "GIF", view.getUint16(6, true), view.getUint16(8, true));
    else if (text(0, 2) === "BM") setSize(header, "BMP", view.getInt32(18, true), Math.abs(view.getInt32(22, true)));
    else if (text(0, 4) === "RIFF" && text(8, 4) === "WEBP") readWebP(view, text, header);
    else if (text(4, 4) === "ftyp") readAvif(view, data, header);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends early
  }
  return header;
}

type Text = (start: number, length: number) => string;

function setSize(header: FileHeader, format: FileHeader["format"], width: number, height: number): void {
  header.format = format;
  header.pixels = width * height;
}

function readPng(view: DataView, text: Text, header: FileHeader): void {
  setSize(header, "PNG", view.getUint32(16), view.getUint32(20));
  header.bits = view.getUint8(24);
  header.gray = [0, 4].includes(view.getUint8(25));
  for (let start = 8; text(start + 4, 4) !== "IDAT"; start += 12 + view.getUint32(start))
    if (text(start + 4, 4) === "iCCP") header.profile = true;
}

function readJpeg(view: DataView, text: Text, header: FileHeader): void {
  header.format = "JPEG";
  const all = new Map<number, number[]>();
  let used: number[] = [];
  for (let start = 2; ; ) {
    const marker = view.getUint8(start + 1);
    if (view.getUint8(start) !== 0xff || marker === 0xda) break; // the scan
    if (marker === 0xff) {
      start += 1; // a fill byte
      continue;
    }
    const length = view.getUint16(start + 2);
    if (marker === 0xdb) readTables(view, start + 4, start + 2 + length, all);
    if (marker === 0xe2 && text(start + 4, 11) === "ICC_PROFILE") header.profile = true;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      setSize(header, "JPEG", view.getUint16(start + 7), view.getUint16(start + 5));
      const components = view.getUint8(start + 9);
      header.gray = components === 1;
      used = Array.from({ length: Math.min(components, 2) }, (_, i) => view.getUint8(start + 12 + 3 * i));
    }
    start += 2 + length;
  }
  const tables = used.map((number) => all.get(number));
  if (tables.every((table) => table?.length === 64)) header.tables = tables as number[][];
}

function readTables(view: DataView, start: number, end: number, tables: Map<number, number[]>): void {
  while (start < end) {
    const [wide, number] = [view.getUint8(start) >> 4, view.getUint8(start) & 15];
    const value = (i: number) => (wide ? view.getUint16(start + 1 + 2 * i) : view.getUint8(start + 1 + i));
    tables.set(number, Array.from({ length: 64 }, (_, i) => value(i)));
    start += 1 + (wide ? 128 : 64);
  }
}

function readWebP(view: DataView, text: Text, header: FileHeader): void {
  header.format = "WebP";
  const kind = text(12, 4);
  const size24 = (start: number) => 1 + view.getUint16(start, true) + (view.getUint8(start + 2) << 16);
  if (kind === "VP8X") {
    setSize(header, "WebP", size24(24), size24(27));
    header.profile = (view.getUint8(20) & 0x20) !== 0;
  } else if (kind === "VP8 ")
    setSize(header, "WebP", view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff);
  else if (kind === "VP8L") {
    const bits = view.getUint32(21, true);
    setSize(header, "WebP", 1 + (bits & 0x3fff), 1 + ((bits >> 14) & 0x3fff));
  }
}

/** The first boxes of their names, wherever they lie: the main picture's properties come first. */
function readAvif(view: DataView, data: Uint8Array, header: FileHeader): void {
  header.format = "AVIF";
  const head = String.fromCharCode(...data.subarray(0, 4096));
  const [size, depth, colours] = ["ispe", "pixi", "colrprof"].map((name) => head.indexOf(name));
  if (size > 0) setSize(header, "AVIF", view.getUint32(size + 8), view.getUint32(size + 12));
  if (depth > 0) header.bits = view.getUint8(depth + 9);
  header.profile = colours > 0;
}
