import { describe, expect, it } from "vitest";
import vectors from "./golden/rle.json";
import { maskArea, maskBox, maskToRuns, runsToMask } from "../src/masks/mask";
import { contains, decodeRle, encodeRle, runsArea, runsBox, sampleRuns } from "../src/masks/rle";
import type { Rle } from "../src/project/types";
import { everyIndex, fromText } from "./pixels";

const asRle = (vector: { size: number[]; counts: string }): Rle => ({
  size: vector.size as [number, number],
  counts: vector.counts,
});

describe("run lengths", () => {
  it.each(vectors)("of a mask of $size are those of pycocotools ($area pixels)", (vector) => {
    const mask = fromText(vector.pixels, vector.size);
    const runs = decodeRle(asRle(vector));
    expect(runsToMask(runs).data).toEqual(mask.data);
    expect(encodeRle(maskToRuns(mask))).toEqual(asRle(vector));
    expect(encodeRle(maskToRuns(mask, maskBox(mask)))).toEqual(asRle(vector));
    expect(runsArea(runs)).toBe(vector.area);
    expect(maskArea(mask)).toBe(vector.area);
    const [x0, y0, x1, y1] = runsBox(runs);
    expect([x0, y0, x1 - x0, y1 - y0]).toEqual(vector.bbox);
    expect(maskBox(mask)).toEqual([x0, y0, x1, y1]);
  });

  it.each(vectors)("of a mask of $size tell each pixel ($area)", (vector) => {
    const [height, width] = vector.size as [number, number];
    const runs = decodeRle(asRle(vector));
    const told = [...vector.pixels].map((_, at) => (contains(runs, at % width, Math.floor(at / width)) ? "1" : "0"));
    expect(told.join("")).toBe(vector.pixels);
    expect([...sampleRuns(runs, everyIndex(width), everyIndex(height))].join("")).toBe(vector.pixels);
    expect(contains(runs, width, 0) || contains(runs, 0, height) || contains(runs, -1, 0)).toBe(false);
  });

  it("are sampled at the columns and rows asked for, also more than once", () => {
    const vector = vectors.at(-2)!;
    const width = vector.size[1]!;
    const [xs, ys] = [Int32Array.of(3, 20, 20, 21, 60, 100), Int32Array.of(0, 0, 17, 40, 80)];
    const expected = [...ys].map((y) => [...xs].map((x) => vector.pixels[y * width + x]).join("")).join("");
    expect([...sampleRuns(decodeRle(asRle(vector)), xs, ys)].join("")).toBe(expected);
  });

  it.each([
    ["too short", "01"],
    ["too long", "0f4"],
    ["cut off in a number", "P"],
    ["not of the alphabet", "0 "],
    ["negative", "O"],
  ])("that are damaged are refused: %s", (_, counts) => {
    expect(() => decodeRle({ size: [3, 4], counts })).toThrow("A saved mask is damaged");
  });
});
