/** What a person does on the page, and what there is to wait for: the steps that scenarios share. */

export const id = (name) => `[data-testid="${name}"]`;
const SAVED = 20_000; // ms

/** A page on the folder's picture of this name, ready to be clicked; `at` turns pixels of the picture into the screen's. */
export async function open(stage, { url, name, options, before }) {
  const context = await stage.visitor(options);
  const page = await context.newPage();
  await before?.(page);
  await page.goto(url);
  return { page, context, ...(await choose(page, name)) };
}

export async function choose(page, name) {
  // The gallery has only the rows that are in sight.
  await page.locator(id("filter-name")).fill(name);
  await page.locator(id("gallery-item"), { hasText: name }).click();
  await page.locator(id("filter-name")).fill("");
  await page.locator(id("status-image"), { hasText: name }).waitFor();
  await page.locator(`${id("canvas")}[aria-label*="${name}"]`).waitFor(); // the picture itself, after its name
  await page.locator(id("toast-error")).waitFor({ state: "detached" });
  const [, width, height] = (await page.locator(id("status-image")).textContent()).match(/(\d+) × (\d+)/).map(Number);
  const at = async ([x, y]) => {
    const box = await page.locator(id("canvas")).boundingBox();
    const scale = Math.min((box.width - 32) / width, (box.height - 32) / height);
    return [box.x + (box.width - width * scale) / 2 + (x + 0.5) * scale, box.y + (box.height - height * scale) / 2 + (y + 0.5) * scale];
  };
  return { at };
}

export const drafted = (page) => page.locator(`${id("accept")}:not([disabled])`).waitFor();
export const saved = (page) => page.locator(id("save-state"), { hasText: /^Saved$/ }).waitFor({ timeout: SAVED });
export const masks = (page) => page.locator(id("mask-item")).count();

export async function click(page, at, point, options) {
  await page.mouse.click(...(await at(point)), options);
  await drafted(page);
}

export async function drag(page, at, points, options = {}) {
  await page.mouse.move(...(await at(points[0])));
  await page.mouse.down(options);
  for (const point of points.slice(1)) await page.mouse.move(...(await at(point)), { steps: 8 });
  await page.mouse.up(options);
}

export async function accept(page) {
  const before = await masks(page);
  await page.locator(id("accept")).click();
  await page.waitForFunction(([selector, count]) => document.querySelectorAll(selector).length > count, [id("mask-item"), before]);
  await saved(page);
}

export async function backend(page, wanted) {
  await page.locator(id("meter"), { hasText: wanted }).waitFor();
}

/** Colours of the canvas at points of the picture. */
export async function colours(page, at, points) {
  const places = await Promise.all(points.map(at));
  const shot = (await page.screenshot()).toString("base64");
  return page.evaluate(async ([data, wanted]) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    canvas.drawImage(bitmap, 0, 0);
    return wanted.map(([x, y]) => [...canvas.getImageData(Math.round(x), Math.round(y), 1, 1).data].slice(0, 3));
  }, [shot, places]).catch((error) => { throw new Error(`no colours: ${error.message}`); });
}

/** A file, its bytes as base64, dragged onto the page and dropped there. */
export function drop(page, fileName, data) {
  return page.evaluate(([data, name]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name));
    for (const kind of ["dragenter", "dragover", "drop"]) {
      document.getElementById("app").dispatchEvent(new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true }));
    }
  }, [data, fileName]);
}
