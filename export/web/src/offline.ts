/** Lets the page work without its server after the first visit; service_worker.ts does the keeping. */

const PATIENCE = 3000; // ms; a page that was loaded past the service worker is never given to it

/** Resolves once files that are loaded are kept, or cannot be. */
export async function keepOffline(): Promise<void> {
  const { serviceWorker } = navigator;
  if (!serviceWorker) return;
  await serviceWorker.register("service_worker.js");
  await serviceWorker.ready;
  if (!serviceWorker.controller)
    await new Promise((resolve) => {
      serviceWorker.addEventListener("controllerchange", resolve, { once: true });
      setTimeout(resolve, PATIENCE);
    });
  // What was loaded before the service worker saw it.
  const cache = await caches.open("rnan-tf");
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  const own = [location.href.split("#")[0], ...loaded].filter((address) => address.startsWith(location.origin));
  await Promise.all(own.map(async (address) => (await cache.match(address)) ?? cache.add(address)));
}
