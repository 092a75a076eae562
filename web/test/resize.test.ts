import { describe, expect, it } from "vitest";
import vectors from "./golden/resize.json";
import { Resize, type Size } from "../src/model/resize";

describe("Resize", () => {
  it.each(vectors)("gives what geometry.Resize gives for $original_size in $image_size", (vector) => {
    const resize = new Resize(vector.original_size as Size, vector.image_size);
    expect(resize.scale).toBe(vector.scale);
    expect(resize.inputSize).toEqual(vector.input_size);
    expect(resize.gridSize).toEqual(vector.grid_size);
    expect([...resize.applyCoords(vector.coords)]).toEqual(vector.applied);
    expect([...resize.restoreCoords(vector.coords)]).toEqual(vector.restored);
  });

  it.each([
    [[0, 5], 1024],
    [[5, -1], 1024],
    [[5.5, 5], 1024],
    [[5, 5], 0],
    [[5, NaN], 64],
  ])("refuses the impossible size %j in %d", (size, imageSize) => {
    expect(() => new Resize(size as Size, imageSize)).toThrow(/expects originalSize \[height, width\]/);
  });

  it("refuses half a point", () => {
    expect(() => new Resize([4, 4], 64).applyCoords([1, 2, 3])).toThrow(/x, y in turn/);
  });
});
