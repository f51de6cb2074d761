/** The page: a photograph comes in, is restored by the worker, is looked at, and goes out. */

import { Client } from "./client";
import { Controls } from "./controls";
import { Line, lineOf } from "./line";
import type { Event, Network, NetworkFile, Opened, Restored } from "./messages";
import { keepOffline } from "./offline";
import { complain, duration, element, hide, say, show } from "./page";
import { missing, realGpu } from "./support";
import { Viewer } from "./viewer";

interface Sample {
  title: string;
  file: string;
  credit: string;
}

interface Listed {
  networks: Record<string, Network>;
  samples: Sample[];
}

const client = new Client();
const viewer = new Viewer(element("viewer"), element("divider"), (zoom) => {
  element("percent").textContent = `${Math.round(zoom * 100)} %`;
});
// The worker is started after that, or its files would be missing offline. Where it fails the page needs its server.
const kept = missing() ? undefined : keepOffline().catch(() => undefined);
let controls: Controls;
let name = "photograph"; // of the file, without its extension
const { classList } = document.body;

/** Runs what a control asks for, one at a time; an error becomes a line. */
async function attempt(work: () => Promise<void>): Promise<void> {
  if (classList.contains("busy")) return;
  classList.add("busy");
  try {
    await work();
  } catch (error) {
    complain(lineOf(error));
  } finally {
    classList.remove("busy");
  }
}

async function open(file: File): Promise<void> {
  say("Opening…");
  hide("result");
  await kept;
  const opened = await client.ask<Opened>({ kind: "open", file }).catch((error) => {
    showStart(true);
    throw error;
  });
  name = file.name.replace(/\.[^.]*$/, "") || "photograph";
  showStart(false);
  viewer.showBefore(opened.picture);
  controls.propose(opened);
  const { preset, reason } = opened.choice;
  const look = preset ? `By its look: ${reason}.` : `By its look it needs nothing: ${reason}.`;
  say([`${opened.width} × ${opened.height} pixels.`, ...opened.notes, look].join(" "));
}

async function restore(): Promise<void> {
  const asked = controls.asked;
  const { scale } = asked.network.card;
  hide("restore", "result", "another");
  show("cancel", "running");
  element("cancel").focus();
  element<HTMLProgressElement>("progress").removeAttribute("value");
  element("eta").textContent = "";
  say("Starting…");
  try {
    let started = 0;
    const restored = await client.ask<Restored>({ kind: "restore", ...asked }, (event: Event) => {
      if (event.kind === "stage") say(event.text);
      else if (event.kind === "rows") viewer.showRows(event.first, event.rows);
      else {
        if (event.done === 1) {
          started = performance.now();
          viewer.clearAfter(scale);
          show("divider");
          say("Restoring…");
        }
        showProgress(event.done, event.total, started);
      }
    });
    const each = (1000 * restored.seconds) / restored.tiles;
    const size = scale > 1 ? `, ${restored.width} × ${restored.height} pixels` : "";
    const tiles = restored.tiles === 1 ? "1 tile" : `${restored.tiles} tiles`;
    const cost = `${tiles}, ${Math.round(each)} ms each, on ${restored.where}`;
    say(`Restored in ${duration(restored.seconds)}${size} (${cost}).`);
    showBlend(100);
    element("blend-row").hidden = asked.network.card.mosaic; // mosaics cannot be mixed with results
    show("result");
  } catch (error) {
    viewer.clearAfter(1);
    hide("divider");
    throw error;
  } finally {
    hide("cancel", "running");
    show("restore", "another");
    element("restore").focus();
  }
}

function showProgress(done: number, total: number, started: number): void {
  element<HTMLProgressElement>("progress").value = done / total;
  const left = ((performance.now() - started) / Math.max(done - 1, 1)) * (total - done);
  const time = done > 1 ? `, ${duration(left / 1000)} to go` : "";
  element("eta").textContent = `${done} of ${total} tiles${time}`;
}

function showBlend(percent: number): void {
  element<HTMLInputElement>("blend").value = String(percent);
  element("blend-value").textContent = `${percent} %`;
  viewer.blend(percent / 100);
}

async function download(): Promise<void> {
  say("Writing the PNG…");
  const blend = Number(element<HTMLInputElement>("blend").value) / 100;
  const address = URL.createObjectURL(await client.ask<Blob>({ kind: "png", blend }));
  const link = document.createElement("a");
  link.href = address;
  link.download = `${name}-restored.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  say(`${link.download} is in your downloads.`);
}

async function openSample(sample: Sample): Promise<void> {
  const response = await fetch(sample.file);
  const file = sample.file.split("/").at(-1)!;
  await open(new File([await response.blob()], file));
}

/** Shows where photographs come in, or the photograph with what can be done. */
function showStart(isShown: boolean): void {
  hide("divider", "result");
  for (const id of ["viewer", "zoom", "form", "another"]) element(id).hidden = isShown;
  element("start").hidden = !isShown;
  document.querySelector("main")!.classList.toggle("empty", isShown);
}

function another(): void {
  showStart(true);
  say("");
  element("file").focus();
}

/** Photographs come by the button, by dropping and by pasting. */
function listen(): void {
  const input = element<HTMLInputElement>("file");
  const take = (files: FileList | null | undefined) => {
    const file = files?.[0];
    if (file) void attempt(() => open(file));
  };
  input.onchange = () => {
    take(input.files);
    input.value = ""; // the same file may be chosen again
  };
  document.addEventListener("paste", (event) => take(event.clipboardData?.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    classList.add("dropping");
  });
  for (const kind of ["dragleave", "drop"] as const)
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      classList.remove("dropping");
    });
  document.addEventListener("drop", (event) => take(event.dataTransfer?.files));
  element("form").onsubmit = (event) => {
    event.preventDefault();
    void attempt(restore);
  };
  element("cancel").onclick = () => void client.ask({ kind: "cancel" });
  element("another").onclick = another;
  element("blend").oninput = () => showBlend(Number(element<HTMLInputElement>("blend").value));
  element("download").onclick = () => void attempt(download);
  element("smaller").onclick = () => viewer.zoomBy(1 / 1.5);
  element("larger").onclick = () => viewer.zoomBy(1.5);
  element("fit").onclick = () => viewer.fit();
  element("pixels").onclick = () => viewer.zoomTo(1);
}

function offerSamples(samples: Sample[]): void {
  for (const sample of samples) {
    const button = document.createElement("button");
    button.textContent = sample.title;
    button.onclick = () => void attempt(() => openSample(sample));
    element("samples").append(button);
  }
  if (samples.length) show("samples");
  element("credits").textContent = `Samples: ${samples.map(({ credit }) => credit).join(", ")}.`;
}

async function getJson<Content>(address: string): Promise<Content> {
  const response = await fetch(address);
  if (!response.ok) throw new Line(`${address} is missing beside this page; build the page again`);
  return response.json() as Promise<Content>;
}

async function begin(): Promise<void> {
  const lacking = missing();
  if (lacking) {
    complain(lacking);
    hide("start");
    return;
  }
  const { networks, samples } = await getJson<Listed>("networks.json");
  // Wheels leave it out with its networks.
  const float16 = await getJson<Record<string, NetworkFile>>("networks/float16.json").catch(() => ({}));
  for (const [preset, file] of Object.entries(float16)) networks[preset].float16 = file;
  controls = new Controls(networks);
  if (navigator.gpu && Object.keys(float16).length) {
    const adapter = await navigator.gpu.requestAdapter();
    if (adapter) controls.offerGpu(realGpu(adapter));
  }
  offerSamples(samples);
  listen();
  await kept;
  classList.add("ready");
}

begin().catch((error) => complain(lineOf(error)));
