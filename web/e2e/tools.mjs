/** What an annotator does with the other tools, one scenario a function; tests/web/test_tools.py plays them. */
import { accept, backend, click, colours, drafted, drag, id, open } from "./hands.mjs";

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
  const candidates = await page.locator(`[data-testid^="candidate-"]:not([disabled])`).count();
  const step = page.locator(`${id("candidate-3")}[disabled]`);
  await put("touchStart", await at(given.rest));
  await step.waitFor(); // two clicks have one answer; the finger is still down
  await put("touchEnd");
  await accept(page);
  return { candidates };
}
