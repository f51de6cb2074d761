/** The page's elements, by their ids. */

export function element<Kind extends HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

/** Shows some elements and hides others. */
export function show(...ids: string[]): void {
  for (const id of ids) element(id).hidden = false;
}

export function hide(...ids: string[]): void {
  for (const id of ids) element(id).hidden = true;
}

/** Says what goes on; what is no problem any more is taken away. */
export function say(text: string): void {
  element("message").textContent = text;
  element("problem").textContent = "";
}

/** Says what is wrong. */
export function complain(text: string): void {
  element("message").textContent = "";
  element("problem").textContent = text.charAt(0).toUpperCase() + text.slice(1) + ".";
}

/** A time as a person says it. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
