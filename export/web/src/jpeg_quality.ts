/** A JPEG file's quality, as rnan_tf/photos/jpeg_coding.py finds it. */

// libjpeg's tables at quality 50, row by row. Reference: ITU-T T.81, annex K, tables K.1 and K.2.
const LUMA = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
  87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
  72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMA = [
  17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99,
  99, 99, 99, ...Array(32).fill(99),
];
const SIDE = 8;

/** Places of a table's numbers in the order of a file: along the antidiagonals, up and down by turns. */
const ZIGZAG = Array.from({ length: SIDE * SIDE }, (_, i) => i).sort((a, b) => {
  const [row, column, otherRow, otherColumn] = [a >> 3, a & 7, b >> 3, b & 7];
  const diagonal = row + column;
  return diagonal - (otherRow + otherColumn) || (diagonal % 2 ? row - otherRow : column - otherColumn);
});

/**
 * The quality on libjpeg's scale, 1-100: that of equal tables, else of the nearest by their logarithms.
 *
 * `tables` are those of luma and, for colour, chroma, in zigzag order.
 */
export function jpegQuality(tables: number[][]): number {
  const bounded = (value: number) => Math.min(Math.max(value, 1), 255);
  let best = 1;
  let least = Infinity;
  for (let quality = 1; quality <= 100; quality++) {
    const scale = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
    let distance = 0;
    tables.forEach((table, k) => {
      const known = [LUMA, CHROMA][k];
      table.forEach((value, i) => {
        const expected = bounded(Math.floor((known[ZIGZAG[i]] * scale + 50) / 100));
        distance += Math.abs(Math.log(expected / bounded(value)));
      });
    });
    // Of several that are equal the last is the file's.
    if (distance < least || distance === 0) [best, least] = [quality, distance];
  }
  return best;
}
