/** Chooses what is done to a photograph by looking at it, as rnan_tf/restoring/choosing.py does. */

import type { Choice } from "./messages";

const GOOD_QUALITY = 90; // a JPEG from here on shows no artifacts
const VISIBLE = 3; // sigma

/** `visible` is the noise that the quietest tenth shows; `quality` a JPEG file's. */
export function choose(quality: number | null, visible: number, gray: boolean): Choice {
  if (quality !== null && quality < GOOD_QUALITY)
    return { preset: gray ? "jpeg" : "jpeg-color", reason: `the JPEG's quality is ${quality}, under ${GOOD_QUALITY}` };
  if (visible >= VISIBLE) return { preset: gray ? "denoise-gray" : "denoise", reason: "it shows noise" };
  const kind = quality === null ? "no JPEG" : `a JPEG of quality ${quality}`;
  return { preset: null, reason: `it is ${kind} and shows no noise` };
}
