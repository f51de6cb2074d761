/**
 * Keeps what the page has loaded, so that it works offline after the first visit.
 *
 * Addresses that name their content (hashes, a network's sha256) are taken from the cache, others from the server while
 * it answers.
 */

interface WorkerEvent extends globalThis.Event {
  request: globalThis.Request;
  respondWith(response: Promise<Response>): void;
  waitUntil(work: Promise<unknown>): void;
}

const worker = self as unknown as {
  skipWaiting(): Promise<void>;
  clients: { claim(): Promise<void> };
  addEventListener(kind: string, listener: (event: WorkerEvent) => void): void;
};
const CACHE = "rnan-tf";
const PATIENCE = 3000; // milliseconds

worker.addEventListener("install", (event) => event.waitUntil(worker.skipWaiting()));
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));
worker.addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(answer(event.request));
});

async function answer(request: globalThis.Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  const { pathname, search } = new URL(request.url);
  if (kept && (search || pathname.includes("/assets/"))) return kept;
  const fetched = fetch(request).then(async (response) => {
    if (response.ok) await cache.put(request, response.clone());
    return response;
  });
  if (!kept) return fetched;
  // A server that has gone may leave a request without any answer.
  const late = new Promise<Response>((resolve) => setTimeout(() => resolve(kept), PATIENCE));
  return Promise.race([fetched, late]).catch(() => kept);
}

export {};
