/** What an annotator does with the other tools, one scenario a function; tests/web/test_tools.py plays them. */
import { accept, backend, click, colours, drafted, drag, drop, id, masks, open, saved } from "./hands.mjs";

const SETTLED = 300; // ms until everything is painted

/** Counts the questions to the decoder, and tells when it holds the picture. */
function listen(page) {
  return page.addInitScript(() => {
    [window.asked, window.holds] = [0, false];
    const { postMessage } = Worker.prototype;
    const heard = new WeakSet();
    Worker.prototype.postMessage = function (message, ...more) {
      if (message?.kind === "ask") window.asked++;
      if (!heard.has(this)) this.addEventListener("message", ({ data }) => (window.holds ||= !!data?.held?.length));
      heard.add(this);
      return postMessage.call(this, message, ...more);
    };
  });
}

/** A mask under the resting pointer, gone with it; then a click there, and a pointer that moves on over the draft. */
export async function hover(stage, given) {
  const { page, at } = await open(stage, { ...given, before: listen });
  const asked = () => page.evaluate(() => window.asked);
  const look = async () => {
    await page.waitForTimeout(SETTLED);
    return colours(page, at, [given.inside, given.outside]);
  };
  await backend(page, "WebAssembly");
  await page.waitForFunction(() => window.holds);
  const before = await look();
  await page.mouse.move(...(await at(given.place)));
  await page.waitForFunction(() => window.asked === 1);
  const shown = await look();
  const draftsBeforeClick = await page.locator(id("accept")).filter({ visible: true }).count();
  const counts = { hover: await asked() };
  await page.mouse.move(5, 5);
  const left = await look();
  await click(page, at, given.place);
  counts.click = await asked();
  await page.mouse.move(...(await at(given.other)));
  await page.waitForTimeout(SETTLED);
  counts.elsewhere = await asked();
  await accept(page);
  return { before, shown, left, draftsBeforeClick, asked: counts };
}

/** A lasso adds, one with Alt takes away. */
export async function lasso(stage, given) {
  const { page, at } = await open(stage, given);
  await page.locator(id("tool-lasso")).click();
  await drag(page, at, given.ring);
  await drafted(page);
  await page.keyboard.down("Alt");
  await drag(page, at, given.hole);
  await page.keyboard.up("Alt");
  await accept(page);
}

/** A tap, then a finger that rests, on a tablet. */
export async function touch(stage, given) {
  const { page, context, at } = await open(stage, { ...given, options: { hasTouch: true } });
  const finger = await context.newCDPSession(page);
  const put = async (type, place) => {
    const touchPoints = place ? [{ x: place[0], y: place[1] }] : [];
    await finger.send("Input.dispatchTouchEvent", { type, touchPoints });
  };
  await page.touchscreen.tap(...(await at(given.place)));
  await drafted(page);
  await page.locator(`${id("candidate-1")}:not([disabled])`).waitFor();
  const candidates = await page.locator('[data-testid^="candidate-"]:not([disabled])').count();
  await put("touchStart", await at(given.rest));
  await page.locator(`${id("candidate-3")}[disabled]`).waitFor(); // two clicks have one answer; the finger is still down
  await put("touchEnd");
  await accept(page);
  return { candidates };
}

/** A COCO file through the dialog, chosen there or dropped; then colours with its masks shown, and hidden. */
export async function importCoco(stage, given) {
  const { page, at } = await open(stage, given);
  if (given.data) await drop(page, "instances.json", given.data);
  else {
    await page.locator(id("import")).click();
    await page.locator(id("import-files")).setInputFiles(given.file);
  }
  await page.locator(id("import-dialog-import")).click();
  const toast = page.locator(id("toast-info"));
  const told = await toast.locator(".toast-text").textContent();
  await toast.evaluateAll((all) => all.forEach((one) => one.remove())); // it goes by itself, but lies over the picture
  await page.locator(id("mask-item")).first().waitFor();
  const items = await page.locator(id("mask-item")).allTextContents();
  await page.mouse.move(5, 5);
  await page.waitForTimeout(SETTLED);
  const shown = await colours(page, at, given.points);
  await page.locator(id("hide-masks")).click();
  await page.waitForTimeout(SETTLED);
  return { told, items, shown, hidden: await colours(page, at, given.points) };
}

/** What the app sends says nothing of points, and the usual 1024 take long: the same work with fewer. */
async function ask(route, { url, pointsPerSide }) {
  const { request } = route.request().frame().page();
  const picture = await request.get(route.request().url().replace(/generate$/, "file"));
  const image = { name: "picture.png", mimeType: "image/png", buffer: await picture.body() };
  const config = JSON.stringify({ points_per_side: pointsPerSide });
  await route.fulfill({ response: await request.post(`${url}/v1/generate`, { multipart: { image, config } }) });
}

/** Everything: one mask is taken with a click, the others are closed. */
export async function everything(stage, given) {
  const { page, at } = await open(stage, given);
  await page.route("**/generate", (route) => ask(route, given));
  await page.mouse.move(5, 5);
  await page.waitForTimeout(SETTLED);
  const before = await colours(page, at, given.points);
  await page.locator(id("tool-everything")).click();
  await page.locator(id("take-all")).waitFor();
  const left = async () => Number((await page.locator(".proposal-text").textContent()).match(/^(\d+) masks? found/)[1]);
  const counts = [await left()];
  await page.mouse.move(5, 5);
  await page.waitForTimeout(SETTLED);
  const shown = await colours(page, at, given.points);
  await page.mouse.click(...(await at(given.place)));
  await page.locator(id("mask-item")).waitFor();
  await saved(page);
  counts.push(await left());
  await page.locator(id("close-everything")).click();
  await page.mouse.move(5, 5);
  await page.waitForTimeout(SETTLED);
  return { before, counts, shown, closed: await colours(page, at, given.points), masks: await masks(page) };
}
