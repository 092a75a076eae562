/**
 * Builds the page, serves it with the files of a folder, and clicks in real Chromium.
 *
 *     node run.mjs FOLDER CLICKS CHROMIUM
 *
 * FOLDER has info.json, embedding.bin, decoder.safetensors, decoder_plain.onnx and points.json; results go to standard output as JSON.
 */
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { chromium } from "playwright-core";
import { build } from "vite";
import { kernels } from "../kernels/build.mjs";

const [folder, clicks, executablePath] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"];
const PAUSE = 300; // the threads of the other side go to sleep
const REST = 200; // of the pointer before a click, where the app has shown a preview by then
const PRESS = 80; // of the button

await build({
  root: import.meta.dirname,
  configFile: false,
  logLevel: "error",
  plugins: [kernels()],
  build: { outDir: join(folder, "page"), assetsInlineLimit: 0, target: "es2022" },
  worker: { format: "es" },
});
const server = createServer((request, response) => {
  const name = normalize(new URL(request.url, "http://localhost").pathname).replace(/\/$/, "/index.html");
  const file = [join(folder, "page", name), join(folder, name)].find(existsSync);
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  if (!file) return response.writeHead(404).end();
  response.setHeader("Content-Type", TYPES[extname(file)] ?? "application/octet-stream");
  createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({ executablePath, headless: true, args: ARGUMENTS });
try {
  const points = JSON.parse(readFileSync(join(folder, "points.json"), "utf8"));
  const info = JSON.parse(readFileSync(join(folder, "info.json"), "utf8"));
  const page = await browser.newPage({ viewport: { width: info.original_size[1], height: info.original_size[0] } });
  page.on("pageerror", (error) => console.error(error.message));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => window.bench && (window.bench.ready || window.bench.problem), null, { timeout: 300_000 });
  const problem = await page.evaluate(() => window.bench.problem);
  if (problem) throw new Error(problem);
  const rounds = [];
  for (let number = -2; number < clicks; number++) {
    const [x, y] = points[(number + points.length) % points.length];
    const sides = number % 2 ? ["plain", "opensam"] : ["opensam", "plain"];
    const round = {};
    for (const side of [...sides, "hover", "press"]) round[side] = await click(page, side, x, y, null);
    // Every fifth click is made again with its mask as a prompt.
    if (number % 5 === 0) {
      for (const side of [...sides, "press"]) round[`${side} with mask`] = await click(page, side, x, y, side);
    }
    if (number >= 0) rounds.push(round);
  }
  const facts = await page.evaluate(() => ({
    image_side_ms: window.bench.imageSide,
    isolated: crossOriginIsolated,
    threads: crossOriginIsolated ? Math.min(navigator.hardwareConcurrency, 4) : 1,
  }));
  console.log(JSON.stringify({ chromium: browser.version(), ...facts, rounds }));
} finally {
  await browser.close();
  server.close();
}

/** One real click; its times, and how far the mask is from the one that the other side gave for the same click. */
async function click(page, side, x, y, refine) {
  const before = await page.evaluate(
    ([name, again]) => {
      const { bench } = window;
      bench.side = name;
      bench.refine = again ? bench.timings.findLast((one) => one.side === again && !one.refined).logits : null;
      return bench.timings.length;
    },
    [side, refine],
  );
  await page.waitForTimeout(PAUSE);
  await page.mouse.move(x, y);
  if (side === "hover") await page.waitForTimeout(REST);
  await page.mouse.down();
  if (side === "press") await page.waitForTimeout(PRESS);
  await page.mouse.up();
  await page.waitForFunction((count) => window.bench.timings.length > count, before, { polling: 20, timeout: 60_000 });
  return page.evaluate(() => {
    const { timings } = window.bench;
    const { decoded, drawn, frame, logits, side: name, refined, place } = timings.at(-1);
    const other = timings.at(-2);
    let [same, either] = [0, 0];
    if (other && other.side !== name && other.refined === refined && other.place === place) {
      logits.data.forEach((logit, at) => {
        const [one, two] = [logit > 0, other.logits.data[at] > 0];
        same += one && two ? 1 : 0;
        either += one || two ? 1 : 0;
      });
    }
    return { decoded, drawn, frame, iou: either ? same / either : null };
  });
}
