import { describe, expect, it } from "vitest";
import clean from "./golden/clean.json";
import upscale from "./golden/upscale.json";
import { drawStroke, emptyMask, fillPolygon, maskBox, maskToRuns, runsToMask, subtract, union } from "../src/masks/mask";
import { upscaleLogits } from "../src/masks/mask";
import { removeSmallRegions, type RegionKind } from "../src/masks/regions";
import { Resize, type Size } from "../src/model/resize";
import { decodeRle } from "../src/masks/rle";
import type { Rle } from "../src/project/types";
import { drawing, fromDrawing } from "./pixels";

describe("a round brush", () => {
  it("paints the pixels whose centre is near enough to the segment, and tells the box", () => {
    for (const [from, to, radius] of [
      [{ x: 10, y: 10 }, { x: 10, y: 10 }, 4.5],
      [{ x: 5.3, y: 8.1 }, { x: 30.2, y: 22.7 }, 3.2],
      [{ x: 30, y: 2 }, { x: 4, y: 28 }, 6],
      [{ x: -5, y: 15 }, { x: 50, y: 15 }, 2],
      [{ x: 20, y: -9 }, { x: 20, y: 44 }, 0.6],
    ] as const) {
      const mask = emptyMask(40, 32);
      const box = drawStroke(mask, from, to, radius, 1);
      const expected = emptyMask(40, 32);
      expected.data.forEach((_, at) => {
        const [x, y] = [(at % 40) + 0.5, Math.floor(at / 40) + 0.5];
        const squared = (to.x - from.x) ** 2 + (to.y - from.y) ** 2;
        const along = squared ? ((x - from.x) * (to.x - from.x) + (y - from.y) * (to.y - from.y)) / squared : 0;
        const t = Math.min(1, Math.max(0, along));
        const distance = Math.hypot(x - from.x - t * (to.x - from.x), y - from.y - t * (to.y - from.y));
        expected.data[at] = Number(distance <= radius);
      });
      expect(drawing(mask)).toEqual(drawing(expected));
      const tight = maskBox(mask);
      expect(box[0] <= tight[0] && box[1] <= tight[1] && box[2] >= tight[2] && box[3] >= tight[3]).toBe(true);
    }
  });

  it("outside the picture touches nothing", () => {
    const mask = emptyMask(8, 8);
    drawStroke(mask, { x: -20, y: -20 }, { x: -10, y: 40 }, 5, 1);
    drawStroke(mask, { x: 90, y: 4 }, { x: 90, y: 4 }, 5, 1);
    expect(maskBox(mask)).toEqual([0, 0, 0, 0]);
  });

  it("erases as it paints", () => {
    const mask = fromDrawing("#####", "#####", "#####");
    drawStroke(mask, { x: 2.5, y: 1.5 }, { x: 2.5, y: 1.5 }, 1, 0);
    expect(drawing(mask)).toEqual(["##.##", "#...#", "##.##"]);
  });
});

describe("a polygon", () => {
  const corners = (...values: [number, number][]): { x: number; y: number }[] => values.map(([x, y]) => ({ x, y }));

  it("is filled where the centres of pixels are inside", () => {
    const mask = emptyMask(6, 4);
    fillPolygon(mask, corners([1, 0], [5, 0], [5, 3], [1, 3]), 1);
    expect(drawing(mask)).toEqual([".####.", ".####.", ".####.", "......"]);
  });

  it("that crosses itself leaves out what is inside twice", () => {
    const mask = emptyMask(6, 6);
    fillPolygon(mask, corners([0, 0], [6, 0], [6, 6], [0, 6], [0, 0], [2, 2], [4, 2], [4, 4], [2, 4], [2, 2]), 1);
    expect(drawing(mask)).toEqual(["######", "######", "##..##", "##..##", "######", "######"]);
  });

  it("may leave the picture, and two that share a side meet without gap or overlap", () => {
    const left = emptyMask(9, 9);
    const right = emptyMask(9, 9);
    fillPolygon(left, corners([-5, -5], [3.7, -5], [6.2, 14], [-5, 14]), 1);
    fillPolygon(right, corners([3.7, -5], [20, -5], [20, 14], [6.2, 14]), 1);
    expect([...left.data].every((pixel, at) => pixel + right.data[at]! === 1)).toBe(true);
  });

  it("of two corners is nothing", () => {
    const mask = emptyMask(4, 4);
    expect(fillPolygon(mask, corners([0, 0], [4, 4]), 1)).toEqual([0, 0, 0, 0]);
    expect(maskBox(mask)).toEqual([0, 0, 0, 0]);
  });
});

describe("masks", () => {
  it("are joined and taken away inside a box only", () => {
    const mask = fromDrawing("##..", "##..");
    const other = fromDrawing(".##.", ".##.");
    union(mask, other, [0, 0, 4, 1]);
    expect(drawing(mask)).toEqual(["###.", "##.."]);
    subtract(mask, other, [0, 1, 4, 2]);
    expect(drawing(mask)).toEqual(["###.", "#..."]);
  });

  it("come to rest by value and box, and back", () => {
    const corrections = { width: 4, height: 2, data: Uint8Array.of(0, 1, 2, 2, 1, 1, 0, 2) };
    expect(drawing(runsToMask(maskToRuns(corrections, [0, 0, 4, 2], 2)))).toEqual(["..##", "...#"]);
    expect(drawing(runsToMask(maskToRuns(corrections, [1, 0, 4, 2])))).toEqual([".#..", ".#.."]);
  });
});

describe("clean-up", () => {
  const cases = clean.flatMap((vector) => (["holes", "islands"] as const).map((kind) => ({ kind, ...vector })));

  it.each(cases)("of $kind below $area pixels is that of Python ($mask.area)", (vector) => {
    const mask = runsToMask(decodeRle(vector.mask as unknown as Rle));
    const changed = removeSmallRegions(mask, vector.area, vector.kind as RegionKind, maskBox(mask));
    expect([...mask.data].join("")).toBe(vector[vector.kind]);
    expect(changed.length > 0).toBe(vector.mask.pixels !== vector[vector.kind]);
  });

  it("does not take the surroundings of a mask for a hole", () => {
    const mask = fromDrawing("......", ".###..", ".#.#..", ".###..", "......");
    removeSmallRegions(mask, 1000, "holes", maskBox(mask));
    expect(drawing(mask)).toEqual(["......", ".###..", ".###..", ".###..", "......"]);
  });
});

describe("upscaled logits", () => {
  it.each(upscale)("of a picture of $original_size are Resize.restore_masks", (vector) => {
    const resize = new Resize(vector.original_size as Size, vector.image_size);
    const side = vector.image_size / 4;
    const logits = Float32Array.from(vector.sixteenths, (value) => value / 16);
    const sampled = upscaleLogits(logits, side, side, resize);
    const known = (pixel: unknown, at: number): string => (vector.unsure[at] === "1" ? "?" : String(pixel));
    expect([...sampled].map(known).join("")).toBe([...vector.mask].map(known).join(""));
    expect([...vector.unsure].filter((pixel) => pixel === "1").length).toBeLessThan(sampled.length / 50);
  });

  it("are the same at the pixels asked for", () => {
    const vector = upscale[2]!;
    const resize = new Resize(vector.original_size as Size, vector.image_size);
    const logits = Float32Array.from(vector.sixteenths, (value) => value / 16);
    const whole = upscaleLogits(logits, 16, 16, resize);
    const [xs, ys] = [Int32Array.of(5, 30, 30, 31, 90), Int32Array.of(0, 70, 71, 149)];
    const expected = [...ys].flatMap((y) => [...xs].map((x) => whole[y * 91 + x]));
    expect([...upscaleLogits(logits, 16, 16, resize, xs, ys)]).toEqual(expected);
  });

  it("of nothing above the threshold are nothing", () => {
    const resize = new Resize([64, 64], 64);
    expect(upscaleLogits(new Float32Array(256).fill(-1), 16, 16, resize).includes(1)).toBe(false);
    expect(upscaleLogits(new Float32Array(256).fill(1), 16, 16, resize).includes(0)).toBe(false);
  });
});
