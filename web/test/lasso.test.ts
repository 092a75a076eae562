import { describe, expect, it } from "vitest";
import type { Editor } from "../src/editor";
import { along, LassoTool } from "../src/tools/lasso";

describe("a scribble", () => {
  it("becomes points spread evenly over it", () => {
    const corner = [{ x: 0, y: 0 }, { x: 100, y: 0 }, { x: 100, y: 100 }];
    expect(along(corner, 50)).toEqual([{ x: 25, y: 0 }, { x: 75, y: 0 }, { x: 100, y: 25 }, { x: 100, y: 75 }]);
  });

  it("becomes a few points only, however long it is", () => {
    expect(along([{ x: 0, y: 0 }, { x: 1e6, y: 0 }], 50)).toHaveLength(6);
  });

  it("of one place is one point", () => {
    expect(along([{ x: 3, y: 4 }], 50)).toEqual([{ x: 3, y: 4 }]);
    expect(along([{ x: 3, y: 4 }, { x: 3, y: 4 }], 50)).toEqual([{ x: 3, y: 4 }]);
  });
});

describe("a stroke", () => {
  const played = (places: readonly [x: number, y: number, inside: boolean][]) => {
    const asked: unknown[] = [];
    const editor = { repaintMarks() {}, addPoints: (points: unknown) => asked.push(points) } as unknown as Editor;
    const tool = new LassoTool(editor);
    const [first, ...others] = places.map(([x, y, inside]) => ({ x, y, inside, opposite: false, reach: 1, stamp: 0 }));
    tool.down(first!);
    for (const at of others) tool.drag(at);
    tool.up(others.at(-1) ?? first!);
    return asked.map((points) => (points as { x: number; y: number }[]).map(({ x, y }) => [x, y]));
  };

  it("beside the picture asks for nothing", () => expect(played([[-9, 5, false], [-5, 9, false]])).toEqual([]));

  it("that leaves the picture asks about the part inside", () => {
    expect(played([[10, 10, true], [20, 10, true], [90, 10, false]])).toEqual([[[15, 10]]]);
  });
});
