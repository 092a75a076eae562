/** What an annotator does with the other tools, one scenario a function; tests/web/test_tools.py plays them. */
import { accept, backend, click, colours, id, open } from "./hands.mjs";

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
