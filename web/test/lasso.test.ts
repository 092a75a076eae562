import { describe, expect, it } from "vitest";
import { along } from "../src/tools/lasso";

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
