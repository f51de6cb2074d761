/** The form: what a photograph needs, how strong its degradation is, and where that is computed. */

import { MAX_PIXELS, PATTERNS, type Compute, type Network, type Opened, type Pattern } from "./messages";
import { element } from "./page";

const TITLES: Record<string, string> = {
  denoise: "Take noise away",
  "denoise-gray": "Take noise away, channel by channel",
  "jpeg-color": "Take JPEG artifacts away",
  jpeg: "Take JPEG artifacts away, of brightness alone",
  "sr-x2": "Enlarge 2 times",
  "sr-x3": "Enlarge 3 times",
  "sr-x4": "Enlarge 4 times",
  demosaic: "Demosaic a sensor's Bayer image",
};
const DEFAULT_QUALITY = 10; // assumed for a file that is no JPEG
const STRENGTHS = { sigma: { name: "Noise (sigma)", step: 0.1 }, quality: { name: "JPEG quality", step: 1 } };

/** What is asked for. */
export interface Asked {
  network: Network;
  strength: number;
  pattern: Pattern;
  compute: Compute;
}

export class Controls {
  #task = element<HTMLSelectElement>("task");
  #strength = element<HTMLInputElement>("strength");
  #compute = element<HTMLSelectElement>("compute");
  #opened: Opened | undefined;
  #exact: number | undefined; // the strength as it was found, which the slider rounds

  constructor(private networks: Record<string, Network>) {
    for (const name of Object.keys(TITLES)) if (networks[name]) this.#task.add(new Option(TITLES[name], name));
    for (const pattern of PATTERNS) element<HTMLSelectElement>("pattern").add(new Option(pattern));
    this.#task.onchange = () => this.#showTask();
    this.#strength.oninput = () => this.#showStrength(undefined);
    element("strength-found").onclick = () => this.#showTask();
  }

  /** Offers the graphics processor, and takes it if it is a real one. */
  offerGpu(isReal: boolean): void {
    element("compute-row").hidden = false;
    if (isReal) this.#compute.value = "webgpu";
  }

  /** Proposes what a photograph needs. */
  propose(opened: Opened): void {
    this.#opened = opened;
    for (const option of this.#task.options) {
      const pixels = opened.width * opened.height * this.networks[option.value].card.scale ** 2;
      option.disabled = pixels > MAX_PIXELS;
    }
    this.#task.value = opened.choice.preset ?? "denoise";
    this.#showTask();
  }

  get asked(): Asked {
    return {
      network: this.#network,
      strength: this.#exact ?? Number(this.#strength.value),
      pattern: element<HTMLSelectElement>("pattern").value as Pattern,
      compute: this.#compute.value as Compute,
    };
  }

  get #network(): Network {
    return this.networks[this.#task.value];
  }

  #showTask(): void {
    const { card, float16 } = this.#network;
    element("pattern-row").hidden = !card.mosaic;
    const usable = Boolean(float16);
    this.#compute.options[1].disabled = !usable;
    if (!usable) this.#compute.value = "wasm";
    element("strength-row").hidden = !card.conditional;
    if (!card.conditional || !card.strength || !card.strengths || !this.#opened) return;
    const { name, step } = STRENGTHS[card.strength];
    const [low, high] = card.strengths;
    Object.assign(this.#strength, { min: low, max: high, step });
    element("strength-name").textContent = name;
    const found = this.#opened[card.strength];
    this.#showStrength(Math.min(Math.max(found ?? DEFAULT_QUALITY, low), high));
  }

  /** Shows a strength that was found, or says that it was set by hand. */
  #showStrength(found: number | undefined): void {
    const { strength } = this.#network.card;
    this.#exact = found;
    if (found !== undefined) this.#strength.value = String(found);
    element("strength-value").textContent = this.#strength.value;
    const how = strength === "sigma" ? "estimated" : this.#opened?.quality ? "by the file's tables" : "assumed";
    element("strength-source").textContent = found === undefined ? "set by hand" : how;
    element("strength-found").hidden = found !== undefined;
  }
}
