/** The page's side of the worker: a promise for each request. */

import { Line } from "./line";
import type { Answer, Event, Request } from "./messages";

interface Waiting {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
  onEvent: (event: Event) => void;
}

export class Client {
  #worker: Worker | undefined;
  #waiting = new Map<number, Waiting>();
  #count = 0;

  /** Asks the worker, which is started by the first request and after it has failed. */
  ask<Result>(request: Request, onEvent: (event: Event) => void = () => {}): Promise<Result> {
    this.#worker ??= this.#start();
    const id = this.#count++;
    this.#worker.postMessage({ id, request });
    return new Promise((resolve, reject) =>
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject, onEvent }),
    );
  }

  #start(): Worker {
    const worker = new Worker(new URL("./worker.ts", import.meta.url));
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const waiting = this.#waiting.get(data.id);
      if ("event" in data) waiting?.onEvent(data.event);
      else {
        this.#waiting.delete(data.id);
        if ("error" in data) waiting?.reject(new Line(data.error));
        else waiting?.resolve(data.result);
      }
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#worker = undefined;
      worker.terminate();
      const reason = event.message || "out of memory";
      const line = new Line(`the computation failed (${reason}); choose the photograph again`);
      for (const { reject } of this.#waiting.values()) reject(line);
      this.#waiting.clear();
    };
    return worker;
  }
}
