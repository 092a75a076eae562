import { describe, expect, it } from "vitest";
import { Viewport } from "../src/canvas/viewport";

function opened(width: number, height: number, ratio = 1): { view: Viewport; changes: () => number } {
  let changes = 0;
  const view = new Viewport(() => changes++);
  view.resize(1000 * ratio, 600 * ratio, ratio);
  view.show(width, height);
  return { view, changes: () => changes };
}

describe("the viewport", () => {
  it.each([
    [2000, 1000, 1],
    [300, 4000, 1],
    [6000, 4000, 2],
  ])("fits a picture of %d x %d into the middle with a margin", (width, height, ratio) => {
    const { view } = opened(width, height, ratio);
    const [from, to] = [view.toView({ x: 0, y: 0 }), view.toView({ x: width, y: height })];
    const free = [from.x, from.y, view.viewWidth - to.x, view.viewHeight - to.y];
    expect(Math.min(...free)).toBeGreaterThanOrEqual(15 * ratio);
    expect(Math.min(...free)).toBeLessThanOrEqual(17 * ratio);
    expect(Math.abs(free[0]! - free[2]!)).toBeLessThanOrEqual(1);
  });

  it("does not blow a tiny picture up to a few squares", () => {
    expect(opened(10, 10).view.scale).toBe(8);
  });

  it("keeps what lies under the cursor there while it zooms", () => {
    const { view } = opened(2000, 1000);
    const before = view.toPicture(420, 310);
    view.zoomAt(3.7, 420, 310);
    const after = view.toPicture(420, 310);
    expect(Math.hypot(after.x - before.x, after.y - before.y) * view.scale).toBeLessThan(1);
  });

  it("zooms between bounds", () => {
    const { view, changes } = opened(2000, 1000);
    for (let step = 0; step < 100; step++) view.zoomBy(2);
    expect(view.scale).toBe(48);
    const still = changes();
    view.zoomBy(2);
    expect(changes()).toBe(still);
    for (let step = 0; step < 100; step++) view.zoomBy(0.5);
    expect(view.scale).toBeCloseTo(opened(2000, 1000).view.scale / 2);
    view.actualSize();
    expect(view.scale).toBe(1);
  });

  it("keeps the middle of the view over the picture", () => {
    const { view } = opened(2000, 1000);
    view.panBy(1e6, -1e6);
    const middle = view.toPicture(500, 300);
    expect(middle.x).toBeCloseTo(0);
    expect(middle.y).toBeCloseTo(1000);
  });

  it("goes there and back", () => {
    const { view } = opened(2000, 1000, 2);
    view.zoomAt(2.3, 100, 50);
    const back = view.toView(view.toPicture(333, 222));
    expect(back.x).toBeCloseTo(333);
    expect(back.y).toBeCloseTo(222);
  });

  it("fits again when the window changes, unless the user has moved the picture", () => {
    const { view } = opened(2000, 1000);
    view.resize(500, 600, 1);
    expect(view.scale).toBeCloseTo((500 - 32) / 2000);
    view.zoomAt(2, 250, 300);
    const [scale, middle] = [view.scale, view.toPicture(250, 300)];
    view.resize(800, 400, 1);
    expect(view.scale).toBe(scale);
    expect(view.toPicture(400, 200).x).toBeCloseTo(middle.x, 0);
  });
});
