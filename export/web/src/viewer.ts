/** Shows a photograph before and after, both in step: a divider that is dragged, zoom, and panning. */

const LARGEST_ZOOM = 16; // screen pixels a pixel
const FITTING_ZOOM = 2; // the largest at which a small picture is shown whole
const STEP = 1.25;

export class Viewer {
  #before: HTMLCanvasElement;
  #after: HTMLCanvasElement;
  #size = { width: 1, height: 1 }; // of the result
  #zoom = 1; // CSS pixels a pixel of the result
  #corner = { x: 0, y: 0 }; // of the picture in the box
  #divider = 0.5; // of the box's width
  #fits = true;
  #pointers = new Map<number, PointerEvent>();

  /**
   * `box` holds the two canvases and the handle; `onZoom` is told how many screen pixels a pixel of the result takes.
   */
  constructor(
    private box: HTMLElement,
    private handle: HTMLElement,
    private onZoom: (zoom: number) => void,
  ) {
    [this.#before, this.#after] = box.querySelectorAll("canvas");
    new ResizeObserver(() => (this.#fits ? this.fit() : this.#draw())).observe(box);
    box.addEventListener("wheel", (event) => this.#onWheel(event), { passive: false });
    box.addEventListener("pointerdown", (event) => this.#onDown(event));
    box.addEventListener("pointermove", (event) => this.#onMove(event));
    for (const kind of ["pointerup", "pointercancel"] as const)
      box.addEventListener(kind, (event) => this.#pointers.delete(event.pointerId));
    box.addEventListener("dblclick", () => (this.#fits ? this.zoomTo(1) : this.fit()));
    box.addEventListener("keydown", (event) => this.#onKey(event));
    handle.addEventListener("keydown", (event) => this.#onHandleKey(event));
  }

  /** Shows a photograph, without a result. */
  showBefore(picture: ImageBitmap): void {
    this.#before.width = picture.width;
    this.#before.height = picture.height;
    this.#before.getContext("2d")!.drawImage(picture, 0, 0);
    this.clearAfter(1);
    this.fit();
  }

  /** Makes room for a result that is `scale` times larger; without a change of what is looked at. */
  clearAfter(scale: number): void {
    const fits = this.#fits;
    const ratio = this.#size.width / (this.#before.width * scale);
    this.#size = { width: this.#before.width * scale, height: this.#before.height * scale };
    this.#after.width = this.#size.width;
    this.#after.height = this.#size.height;
    this.#zoom *= ratio;
    this.blend(1);
    if (fits) this.fit();
    else this.#draw();
  }

  /** Shows rows of the result. */
  showRows(first: number, rows: ImageData): void {
    this.#after.getContext("2d")!.putImageData(rows, 0, first);
  }

  /** Lets the photograph show through the result. */
  blend(part: number): void {
    this.#after.style.opacity = String(part);
  }

  /** Moves the divider to a part of the box's width. */
  divide(part: number): void {
    this.#divider = Math.min(Math.max(part, 0), 1);
    this.#draw();
  }

  /** Shows the whole picture. */
  fit(): void {
    const { width, height } = this.box.getBoundingClientRect();
    this.#zoom = this.#fitting(width, height);
    this.#corner = { x: (width - this.#size.width * this.#zoom) / 2, y: (height - this.#size.height * this.#zoom) / 2 };
    this.#fits = true;
    this.#draw();
  }

  /** Zooms to so many screen pixels a pixel, around a point of the box, its middle if none is given. */
  zoomTo(zoom: number, at?: { x: number; y: number }): void {
    const { width, height } = this.box.getBoundingClientRect();
    const { x, y } = at ?? { x: width / 2, y: height / 2 };
    const smallest = this.#fitting(width, height) / 2;
    const next = Math.min(Math.max(zoom / devicePixelRatio, smallest), LARGEST_ZOOM / devicePixelRatio);
    const ratio = next / this.#zoom;
    this.#corner = { x: x - (x - this.#corner.x) * ratio, y: y - (y - this.#corner.y) * ratio };
    this.#zoom = next;
    this.#fits = false;
    this.#draw();
  }

  zoomBy(ratio: number): void {
    this.zoomTo(this.#zoom * devicePixelRatio * ratio);
  }

  #fitting(width: number, height: number): number {
    return Math.min(width / this.#size.width, height / this.#size.height, FITTING_ZOOM / devicePixelRatio);
  }

  #pan(x: number, y: number): void {
    this.#corner = { x: this.#corner.x + x, y: this.#corner.y + y };
    this.#fits = false;
    this.#draw();
  }

  #draw(): void {
    const { width, height } = this.box.getBoundingClientRect();
    // Some of the picture stays in the box; a small one stays whole.
    const within = (corner: number, picture: number, room: number) =>
      picture <= room ? Math.min(Math.max(corner, 0), room - picture) : Math.min(Math.max(corner, room - picture), 0);
    this.#corner = {
      x: within(this.#corner.x, this.#size.width * this.#zoom, width),
      y: within(this.#corner.y, this.#size.height * this.#zoom, height),
    };
    for (const canvas of [this.#before, this.#after]) {
      const scale = (this.#zoom * this.#size.width) / canvas.width;
      canvas.style.transform = `translate(${this.#corner.x}px, ${this.#corner.y}px) scale(${scale})`;
      canvas.style.imageRendering = this.#zoom * devicePixelRatio >= 2 ? "pixelated" : "auto";
    }
    const hidden = (this.#divider * width - this.#corner.x) / this.#zoom;
    this.#after.style.clipPath = `inset(0 0 0 ${Math.min(Math.max(hidden, 0), this.#size.width)}px)`;
    this.handle.style.left = `${this.#divider * 100}%`;
    this.handle.setAttribute("aria-valuenow", String(Math.round(this.#divider * 100)));
    this.onZoom(this.#zoom * devicePixelRatio);
  }

  #place(event: MouseEvent): { x: number; y: number } {
    const { left, top } = this.box.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  #onWheel(event: WheelEvent): void {
    event.preventDefault();
    this.zoomTo(this.#zoom * devicePixelRatio * Math.exp(-event.deltaY / 400), this.#place(event));
  }

  #onDown(event: PointerEvent): void {
    this.box.setPointerCapture(event.pointerId);
    this.#pointers.set(event.pointerId, event);
    this.box.classList.toggle("dividing", this.handle.contains(event.target as Node));
  }

  #onMove(event: PointerEvent): void {
    const last = this.#pointers.get(event.pointerId);
    if (!last) return;
    this.#pointers.set(event.pointerId, event);
    const other = [...this.#pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    if (other) {
      const spread = (pointer: PointerEvent) =>
        Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
      this.zoomTo((this.#zoom * devicePixelRatio * spread(event)) / spread(last), this.#place(event));
    } else if (this.box.classList.contains("dividing"))
      this.divide(this.#place(event).x / this.box.getBoundingClientRect().width);
    else this.#pan(event.clientX - last.clientX, event.clientY - last.clientY);
  }

  #onKey(event: KeyboardEvent): void {
    const step = 50;
    const actions: Record<string, () => void> = {
      "+": () => this.zoomBy(STEP),
      "=": () => this.zoomBy(STEP),
      "-": () => this.zoomBy(1 / STEP),
      "0": () => this.fit(),
      "1": () => this.zoomTo(1),
      ArrowLeft: () => this.#pan(step, 0),
      ArrowRight: () => this.#pan(-step, 0),
      ArrowUp: () => this.#pan(0, step),
      ArrowDown: () => this.#pan(0, -step),
    };
    this.#act(event, actions);
  }

  #onHandleKey(event: KeyboardEvent): void {
    const actions: Record<string, () => void> = {
      ArrowLeft: () => this.divide(this.#divider - 0.02),
      ArrowRight: () => this.divide(this.#divider + 0.02),
      Home: () => this.divide(0),
      End: () => this.divide(1),
    };
    this.#act(event, actions);
  }

  #act(event: KeyboardEvent, actions: Record<string, () => void>): void {
    const action = actions[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }
}
