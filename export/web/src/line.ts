/** An error whose message is a line for the reader: what is wrong, and the way out. */
export class Line extends Error {}

const NO_MEMORY = "there is too little memory for this; close other tabs, or take a smaller photograph";

/** What a reader is told of any error. */
export function lineOf(error: unknown): string {
  if (error instanceof Line) return error.message;
  const message = error instanceof Error ? error.message : String(error);
  const isMemory = error instanceof RangeError || /out of memory|OOM|memory access|allocat/i.test(message);
  return isMemory ? NO_MEMORY : `that failed (${message.split("\n")[0]}); load the page again`;
}
