// Drives export/web's page in Chromium for tests/export/test_web.py: `node browser.mjs PACKAGES CHROMIUM [--gpu]`.
//
// Each line of standard input is a JSON object {do: NAME, url, ...arguments of the function of that name below}; a line
// of JSON answers it: {result, problems, left} with what went wrong in the page and which hosts beyond loopback were
// asked for so far.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import net from "node:net";
import readline from "node:readline";

const [packages, executablePath, gpu] = process.argv.slice(2);
const require = createRequire(packages);
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const PATIENCE = gpu ? 600 : 180; // seconds; SwiftShader takes half a minute a tile
const SWIFTSHADER = [
  "--enable-unsafe-webgpu",
  "--use-webgpu-adapter=swiftshader",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
  "--use-angle=swiftshader",
];

// Whatever does not go to loopback goes to this proxy, also what workers and the browser itself ask for.
const left = [];
const proxy = net.createServer((socket) => {
  socket.on("error", () => {});
  socket.once("data", (data) => {
    left.push(data.toString("latin1").split("\r\n")[0]);
    socket.destroy();
  });
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--disable-quic",
    // What the browser itself asks for.
    "--disable-background-networking",
    "--component-updater=url-source=http://127.0.0.1:1/",
    "--disable-sync",
    "--allow-browser-signin=false",
    "--gaia-url=http://127.0.0.1:1/",
    `--proxy-server=127.0.0.1:${proxy.address().port}`,
    ...(gpu ? SWIFTSHADER : []),
  ],
});
let problems = [];

async function openPage({ url, theme = "light", width = 1280, height = 800, lacks = "", patience = PATIENCE }) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme });
  const page = await context.newPage();
  page.setDefaultTimeout(patience * 1000);
  page.on("pageerror", (error) => problems.push(error.stack));
  page.on("console", (message) => {
    if (/Refused|violat/.test(message.text())) problems.push(message.text());
  });
  if (lacks) await page.addInitScript(lacks);
  await page.goto(url);
  await page.waitForSelector(lacks ? "#problem:not(:empty)" : "body.ready");
  return page;
}

const text = (page, id) => page.textContent(`#${id}`);

/** Gives the page a file: by dropping it ("drop"), or by pasting it ("paste"). */
async function give(page, file, way = "drop") {
  const content = readFileSync(file).toString("base64");
  await page.evaluate(
    ([content, name, way]) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name));
      const event =
        way === "drop"
          ? new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer })
          : new ClipboardEvent("paste", { bubbles: true, clipboardData: transfer });
      document.body.dispatchEvent(event);
    },
    [content, file.split("/").at(-1), way],
  );
}

/** Waits for what the page is busy with. */
const idle = (page) => page.waitForFunction(() => !document.body.classList.contains("busy"));

async function slide(page, id, value) {
  await page.evaluate(
    ([id, value]) => {
      const input = document.getElementById(id);
      input.value = value;
      input.dispatchEvent(new Event("input"));
    },
    [id, String(value)],
  );
}

async function save(page, target) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  await download.saveAs(target);
  return download.suggestedFilename();
}

async function restoreDropped(page, { file, task, strength, pattern, compute, blend, target }) {
  await give(page, file);
  await idle(page);
  const said = await text(page, "message");
  const proposed = await page.inputValue("#task");
  if (task) await page.selectOption("#task", task);
  const found = { value: await text(page, "strength-value"), source: await text(page, "strength-source") };
  if (strength !== undefined) await slide(page, "strength", strength);
  if (pattern) await page.selectOption("#pattern", pattern);
  if (compute) await page.selectOption("#compute", compute);
  await page.click("#restore");
  await idle(page);
  const problem = await text(page, "problem");
  if (blend !== undefined) await slide(page, "blend", blend);
  const message = await text(page, "message");
  const name = target && !problem ? await save(page, target) : null;
  return { said, proposed, found, message, problem, name };
}

let kept; // a page in which LiteRT has started; each takes some hundred megabytes
const actions = {
  /** Restores in a page that is kept. */
  async restore(args) {
    if (kept?.url() !== args.url) {
      await kept?.context().close();
      kept = await openPage(args);
    }
    return restoreDropped(kept, args);
  },

  /** What is said of a file that is dropped or pasted, of a sample, or of a browser that lacks something. */
  async open(args) {
    const page = await openPage(args);
    if (args.sample) await page.click(`#samples button:text("${args.sample}")`);
    if (args.file) await give(page, args.file, args.way);
    await idle(page);
    const result = { problem: await text(page, "problem"), message: await text(page, "message") };
    result.proposed = await page.inputValue("#task");
    result.refused = await page.$$eval("#task option:disabled", (options) => options.map(({ value }) => value));
    await page.context().close();
    return result;
  },

  /** Opens a large file, lets some tiles be restored, and cancels; `gap` is how long the page stood still, in ms. */
  async cancel(args) {
    const page = await openPage(args);
    await page.evaluate(() => {
      window.gap = 0;
      let last = performance.now();
      setInterval(() => {
        window.gap = Math.max(window.gap, performance.now() - last);
        last = performance.now();
      }, 20);
    });
    const start = Date.now();
    await page.setInputFiles("#file", args.file);
    await idle(page);
    const said = await text(page, "message");
    const seconds = (Date.now() - start) / 1000;
    if (args.task) await page.selectOption("#task", args.task);
    await page.click("#restore");
    await page.waitForFunction((tiles) => parseInt(document.querySelector("#eta").textContent) >= tiles, args.tiles);
    const eta = await text(page, "eta");
    await page.click("#cancel");
    await idle(page);
    const result = { said, seconds, eta, problem: await text(page, "problem"), gap: await page.evaluate("gap") };
    result.again = await page.isVisible("#restore");
    await page.context().close();
    return result;
  },

  /** Takes a screenshot of a stage ("start", "opened" or "restored") and lets axe look for serious faults. */
  async look(args) {
    const page = await openPage(args);
    if (args.stage !== "start") {
      await give(page, args.file);
      await idle(page);
    }
    if (args.stage === "restored") {
      if (args.task) await page.selectOption("#task", args.task);
      await page.click("#restore");
      await idle(page);
    }
    await page.screenshot({ path: args.target, fullPage: true });
    // By the driver, whom the page's policy does not bind.
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run());
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
    await page.context().close();
    return { wide, faults: found.violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((n) => n.html)]) };
  },

  /** Restores by keys alone, moves the divider and zooms; both canvases stay in step. */
  async keys(args) {
    const page = await openPage(args);
    await page.setInputFiles("#file", args.file);
    await idle(page);
    await page.focus("#task");
    await page.keyboard.press("Tab");
    if (await page.isVisible("#strength")) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await idle(page);
    await page.focus("#divider");
    for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowLeft");
    const divided = await page.getAttribute("#divider", "aria-valuenow");
    const { x, y, width, height } = await page.locator("#divider .knob").boundingBox();
    await page.mouse.move(x + width / 2, y + height / 2);
    await page.mouse.down();
    await page.mouse.move(x + 200, y + 30);
    await page.mouse.up();
    const dragged = await page.getAttribute("#divider", "aria-valuenow");
    await page.focus("#viewer");
    await page.keyboard.press("1");
    const pixels = await text(page, "percent");
    for (let i = 0; i < 8; i++) await page.keyboard.press("+");
    await page.keyboard.press("ArrowRight");
    const places = await page.$$eval("#viewer canvas", (all) =>
      all.map((canvas) => (({ x, y, width, height }) => [x, y, width, height])(canvas.getBoundingClientRect())),
    );
    const zoomed = await text(page, "percent");
    await page.context().close();
    return { divided, dragged, pixels, zoomed, places };
  },

  /** Lets the graphics processor's process crash while a photograph is restored on it. */
  async lose(args) {
    const page = await openPage(args);
    await give(page, args.file);
    await idle(page);
    await page.selectOption("#compute", "webgpu");
    await page.click("#restore");
    await page.waitForFunction(() => document.querySelector("#message").textContent.startsWith("Loading"));
    await page.waitForTimeout(8000); // until the first tile is on it
    await (await browser.newBrowserCDPSession()).send("Browser.crashGpuProcess");
    await idle(page);
    const result = { problem: await text(page, "problem"), again: await page.isVisible("#restore") };
    await page.context().close();
    return result;
  },

  /** Loads the page that is kept again, and restores again. */
  async again(args) {
    await kept.reload();
    await kept.waitForSelector("body.ready");
    return restoreDropped(kept, args);
  },
};

for await (const line of readline.createInterface({ input: process.stdin })) {
  const { do: action, ...args } = JSON.parse(line);
  problems = [];
  let answer;
  try {
    answer = { result: await actions[action](args), problems, left };
  } catch (error) {
    answer = { failure: error.stack, problems, left };
    await kept?.context().close();
    kept = undefined;
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}
await browser.close();
proxy.close();
