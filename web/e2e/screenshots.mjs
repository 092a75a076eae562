/**
 * Screenshots of every state of the built app in real Chromium, from drawn pictures: no model, no data.
 *
 *     npx vite build && node e2e/screenshots.mjs [out folder] [states, by their names]
 *
 * Ends with status 1 when the page logs an error: a broken policy, a missing file, an exception.
 */
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { PICTURE, startMock } from "./mock.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const built = process.env.OPENSAM_STATIC ?? join(here, "../../src/opensam/serve/static");
const [out = join(here, "../../out/screenshots"), ...only] = process.argv.slice(2);
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };

const id = (name) => `[data-testid="${name}"]`;

async function click(page, x, y, button = "left") {
  const box = await page.locator(id("canvas")).boundingBox();
  const scale = Math.min((box.width - 32) / PICTURE.width, (box.height - 32) / PICTURE.height);
  const [left, top] = [box.x + (box.width - PICTURE.width * scale) / 2, box.y + (box.height - PICTURE.height * scale) / 2];
  await page.mouse.click(left + x * scale, top + y * scale, { button });
}

async function draft(page) {
  await click(page, 480, 320);
  await page.locator(`${id("candidate-1")}:not([disabled])`).waitFor();
}

/** name: scenario of the mock, options of the page, and what is done before the picture is taken. */
const STATES = {
  empty: { scenario: { images: 0, masks: 0, labels: 0 } },
  loading: { scenario: { images: 40, masks: 0, slow: 4000 }, act: (page) => page.waitForTimeout(400) },
  list_error: { scenario: { images: 40, masks: 0 }, before: (page) => page.route("**/v1/images?*", (route) => route.fulfill({ status: 503, contentType: "application/json", body: '{"detail":"The folder of pictures cannot be read at the moment."}' })) },
  broken_image: { scenario: { images: 8, masks: 0, broken: 0 } },
  no_masks: { scenario: { images: 40, masks: 0 } },
  one_mask: { scenario: { images: 40, masks: 1 } },
  three_masks: { scenario: { images: 40, masks: 3 }, act: (page) => page.locator(id("mask-select")).nth(1).click() },
  hundred_masks: { scenario: { images: 10_000, masks: 100 } },
  draft: { scenario: { images: 40, masks: 3 }, act: draft },
  everything: { scenario: { images: 40, masks: 0 }, act: async (page) => {
    await page.locator(id("tool-everything")).click();
    await page.locator(id("take-all")).waitFor();
  } },
  everything_running: { scenario: { images: 40, masks: 0, slowGenerate: 5000 }, act: async (page) => {
    await page.locator(id("tool-everything")).click();
    await page.waitForTimeout(700);
  } },
  offline: { scenario: { images: 40, masks: 3 }, act: async (page, scenario) => {
    scenario.away = true;
    for (let index = 0; index < 3; index++) await page.locator(id("mask-delete")).first().click({ force: true });
    await page.getByText("Offline, 3 unsaved").waitFor();
  } },
  model_error: { scenario: { images: 40, masks: 1, refuseEmbed: true }, act: (page) => page.waitForTimeout(600) },
  conflict: { scenario: { images: 40, masks: 3, conflict: true }, act: async (page) => {
    await page.locator(id("mask-select")).first().click();
    await page.locator(id("label-sky")).click();
    await page.locator(id("conflict")).waitFor();
  } },
  help: { scenario: { images: 40, masks: 3 }, act: (page) => page.keyboard.press("?") },
  export: { scenario: { images: 40, masks: 3 }, act: (page) => page.locator(id("export")).click() },
  import: { scenario: { images: 40, masks: 3 }, act: (page) => page.locator(id("import")).click() },
  label: { scenario: { images: 40, masks: 3 }, act: (page) => page.locator(id("edit-label-person")).click() },
  confirm: { scenario: { images: 40, masks: 3 }, act: (page) => page.locator(id("clear")).click() },
  toasts: { scenario: { images: 3, masks: 3 }, act: async (page) => {
    await page.locator(id("new-label")).fill("sky");
    await page.keyboard.press("Enter");
    await page.keyboard.press("Escape");
    await page.locator(id("gallery-item")).nth(1).click();
    await page.locator(id("gallery-item")).nth(1).waitFor();
    await page.locator(`${id("gallery-item")}[aria-current]`).nth(0).waitFor();
    await page.locator(id("gallery-item")).nth(0).focus();
    await page.waitForTimeout(300);
  } },
  focus: { scenario: { images: 40, masks: 3 }, act: async (page) => {
    for (let index = 0; index < 4; index++) await page.keyboard.press("Tab");
  } },
  tablet_brush: { scenario: { images: 40, masks: 3 }, viewport: { width: 1024, height: 768 }, act: (page) => page.locator(id("tool-brush")).click() },
  tablet: { scenario: { images: 40, masks: 3 }, viewport: { width: 1024, height: 768 } },
  phone: { scenario: { images: 40, masks: 3 }, viewport: PHONE },
  phone_draft: { scenario: { images: 40, masks: 3 }, viewport: PHONE, act: draft },
  phone_gallery: { scenario: { images: 40, masks: 3 }, viewport: PHONE, act: (page) => page.locator(id("drawer-gallery")).click() },
  phone_panel: { scenario: { images: 40, masks: 3 }, viewport: PHONE, act: (page) => page.locator(id("drawer-side")).click() },
  phone_help: { scenario: { images: 40, masks: 3 }, viewport: PHONE, act: (page) => page.locator(id("help")).click() },
  phone_empty: { scenario: { images: 0, masks: 0 }, viewport: PHONE },
};
/** States in which an error in the console is what the state is about. */
const LOUD = new Set(["list_error", "offline", "model_error", "conflict"]);

async function shoot(browser, name, theme) {
  const { scenario, viewport = DESKTOP, act, before } = STATES[name];
  const live = { ...scenario };
  const mock = await startMock(built, live);
  const context = await browser.newContext({ viewport, colorScheme: theme, hasTouch: viewport === PHONE });
  const page = await context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  await before?.(page);
  await page.goto(mock.url);
  await page.waitForTimeout(700);
  await act?.(page, live);
  await page.waitForTimeout(250);
  await page.screenshot({ path: join(out, `${name}_${theme}.png`) });
  await context.close();
  mock.close();
  return LOUD.has(name) ? [] : errors.map((error) => `${name}: ${error}`);
}

await mkdir(out, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
const problems = [];
for (const name of Object.keys(STATES)) {
  if (only.length && !only.includes(name)) continue;
  for (const theme of ["dark", "light"]) {
    try {
      problems.push(...(await shoot(browser, name, theme)));
    } catch (error) {
      problems.push(`${name}: ${error}`);
    }
  }
}
await browser.close();
for (const problem of problems) console.error(problem);
process.exitCode = problems.length ? 1 : 0;
