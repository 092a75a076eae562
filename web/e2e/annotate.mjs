/** What an annotator does, one scenario a function; tests/web/test_annotate.py plays them and looks at what was saved. */

import { accept, backend, choose, click, colours, drag, drafted, drop, id, masks, open, saved } from "./hands.mjs";

/** A click, a second one, a negative one; accepted, labelled, reloaded. */
export async function clicks(stage, given) {
  const { page, at } = await open(stage, given);
  const isolated = await page.evaluate(() => self.crossOriginIsolated);
  await backend(page, "WebAssembly");
  await page.mouse.move(5, 5);
  await page.locator(id("new-label")).fill("disc");
  await page.locator(id("add-label")).click();
  await page.locator(`${id("label-disc")}[aria-pressed="true"]`).waitFor();
  await click(page, at, given.centre);
  const candidates = await page.locator('[data-testid^="candidate-"]').count();
  await click(page, at, given.corner, { button: "right" });
  await accept(page);
  const meter = await page.locator(id("meter")).textContent();
  await page.reload();
  await choose(page, given.name);
  await page.locator(id("mask-item")).waitFor();
  const items = await page.locator(id("mask-item")).allTextContents();
  return { isolated, candidates, meter, items };
}

/** A box around a thing, then undo, redo, undo of what was saved. */
export async function box(stage, given) {
  const { page, at } = await open(stage, given);
  const [x0, y0, x1, y1] = given.bounds;
  await page.locator(id("tool-box")).click();
  await drag(page, at, [[x0, y0], [x1, y1]]);
  await drafted(page);
  await accept(page);
  const counts = [await masks(page)];
  for (const button of ["undo", "redo"]) {
    await page.locator(id(button)).click();
    const wanted = button === "undo" ? 0 : 1;
    await page.waitForFunction(([selector, count]) => document.querySelectorAll(selector).length === count, [id("mask-item"), wanted]);
    await saved(page);
    counts.push(await masks(page));
  }
  return counts;
}

/** A stroke of the brush becomes a mask, and the eraser takes some of it away. */
export async function brush(stage, given) {
  const { page, at } = await open(stage, given);
  await page.locator(id("tool-brush")).click();
  await drag(page, at, given.stroke);
  await drafted(page);
  await page.locator(id("tool-eraser")).click();
  await drag(page, at, given.erased);
  await accept(page);
}

/** Tools, draft, candidates and acceptance with the keyboard alone. */
export async function keyboard(stage, given) {
  const { page } = await open(stage, given);
  await page.locator(id("canvas")).focus();
  await page.keyboard.press("p");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Enter");
  await drafted(page);
  await page.keyboard.press("2");
  await page.keyboard.press("a");
  await page.locator(id("mask-item")).waitFor();
  await saved(page);
  await page.keyboard.press("Control+z");
  await page.waitForFunction((selector) => document.querySelectorAll(selector).length === 0, id("mask-item"));
  await page.keyboard.press("Control+Shift+z");
  await page.locator(id("mask-item")).waitFor();
  await saved(page);
  await page.keyboard.press("Shift+?");
  await page.locator(id("help-sheet")).waitFor();
  await page.keyboard.press("Escape");
  await page.locator(id("help-sheet")).waitFor({ state: "detached" });
}

/** The export dialog gives a file. */
export async function exportCoco(stage, given) {
  const { page } = await open(stage, given);
  await page.getByRole("button", { name: "Export" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator(id("export-coco")).click()]);
  await download.saveAs(given.target);
  return download.suggestedFilename();
}

/** Two tabs give the same mask different labels; the second one is asked, and takes what the first one saved. */
export async function conflict(stage, given) {
  stage.tolerate(/409/);
  const first = await open(stage, given);
  await first.page.locator(id("tool-brush")).click();
  await drag(first.page, first.at, given.stroke);
  await accept(first.page);
  for (const label of ["mine", "theirs"]) {
    await first.page.locator(id("new-label")).fill(label);
    await first.page.locator(id("add-label")).click();
    await first.page.locator(id(`label-${label}`)).waitFor();
  }
  const second = await open(stage, given);
  for (const { page } of [first, second]) await page.locator(id("mask-select")).first().click();
  await first.page.locator(id("label-theirs")).click();
  await saved(first.page);
  await second.page.locator(id("label-mine")).click();
  const dialog = second.page.locator(id("conflict"));
  await dialog.waitFor();
  const told = await dialog.textContent();
  await second.page.locator(id("conflict-theirs")).click();
  await saved(second.page);
  return { told, shown: await second.page.locator(id("mask-item")).first().textContent() };
}

/** The server dies and comes back; what was drawn meanwhile is saved then. */
export async function outage(stage, given) {
  stage.tolerate(/ERR_CONNECTION_REFUSED|Failed to fetch|Failed to load resource/);
  const { page, at } = await open(stage, given);
  await page.locator(id("tool-brush")).click();
  await drag(page, at, given.stroke);
  await accept(page);
  await stage.ask("kill");
  await drag(page, at, given.second);
  await drafted(page);
  await page.locator(id("accept")).click();
  await page.locator(id("save-state"), { hasText: "unsaved" }).waitFor();
  await stage.ask("start");
  await saved(page);
  return masks(page);
}

/** A tab is closed while the server is away; the next tab saves what it left. */
export async function abandoned(stage, given) {
  stage.tolerate(/ERR_CONNECTION_REFUSED|Failed to fetch|Failed to load resource/);
  const { page, context, at } = await open(stage, given);
  await backend(page, "WebAssembly");
  await page.locator(id("tool-brush")).click();
  await stage.ask("kill");
  await drag(page, at, given.stroke);
  await drafted(page);
  await page.locator(id("accept")).click();
  await page.locator(id("save-state"), { hasText: "unsaved" }).waitFor();
  await page.close();
  await stage.ask("start");
  const next = await context.newPage();
  await next.goto(given.url);
  await choose(next, given.name);
  await next.locator(id("mask-item")).waitFor();
  await saved(next);
  return masks(next);
}

/** Two masks from the same click: the first and the second candidate. */
export async function candidates(stage, given) {
  const { page, at } = await open(stage, given);
  for (const number of [1, 2]) {
    await click(page, at, given.centre);
    await page.locator(id(`candidate-${number}`)).click();
    await accept(page);
  }
}

/** A file dropped on the page is opened, and is in the gallery. */
export async function dropped(stage, given) {
  const { page } = await open(stage, given);
  await drop(page, given.fileName, given.data);
  await page.locator(id("status-image"), { hasText: given.fileName.replace(/\..*/, "") }).waitFor();
  return page.locator(id("gallery-item"), { hasText: given.fileName.replace(/\..*/, "") }).count();
}

/** Without WebAssembly the server decodes. */
export async function fallback(stage, given) {
  stage.tolerate(/wasm|WebAssembly|ERR_FAILED/i);
  // The page asks for the weights itself; what a worker asks for does not always come by here.
  const before = (page) => page.route(/\.wasm|\.safetensors/, (route) => route.abort());
  const { page, at } = await open(stage, { ...given, before });
  await click(page, at, given.centre);
  const meter = await page.locator(id("meter")).textContent();
  await page.locator(id("cancel")).click();
  return meter;
}

/** Names of all buttons, jumps of the layout, and the width of a phone. */
export async function manners(stage, given) {
  const before = (page) => page.addInitScript(() => {
    window.shifted = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  const { page, at } = await open(stage, { ...given, before });
  await click(page, at, given.centre);
  await page.locator(id("cancel")).click();
  const shifted = await page.evaluate(() => window.shifted);
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, canvas[tabindex]")]
    .filter((one) => !one.hidden && !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length || one.title))
    .map((one) => one.outerHTML.slice(0, 120)));
  const unmarked = await unmarkedFocus(page);
  const phone = await (await stage.visitor({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })).newPage();
  await phone.goto(given.url);
  await phone.locator(id("canvas")).waitFor();
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  return { shifted, nameless, unmarked, wide };
}

/** What the Tab key reaches without a ring to be seen around it. */
async function unmarkedFocus(page) {
  const unmarked = [];
  for (let step = 0; step < 30; step++) {
    await page.keyboard.press("Tab");
    unmarked.push(...await page.evaluate(() => {
      const one = document.activeElement;
      if (!one || one === document.body) return [];
      const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
      const ring = outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
      return ring || boxShadow !== "none" ? [] : [one.outerHTML.slice(0, 120)];
    }));
  }
  return unmarked;
}

/** Colours at the points with the masks shown, and hidden. */
export async function seen(stage, given) {
  const { page, at } = await open(stage, given);
  await page.locator(id("mask-item")).first().waitFor();
  await page.mouse.move(5, 5);
  await page.waitForTimeout(300);
  const shown = await colours(page, at, given.points);
  await page.locator(id("hide-masks")).click();
  await page.waitForTimeout(300);
  return { shown, hidden: await colours(page, at, given.points) };
}
