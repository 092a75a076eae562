import { describe, expect, it } from "vitest";
import * as decoding from "../src/model/decoding";
import { Resize } from "../src/model/resize";

describe("prompts", () => {
  const resize = new Resize([512, 1024], 2048);

  it("are points of the input frame, with a padding point where there is no box", () => {
    const { coords, labels } = decoding.pointsOf({ points: [{ x: 10, y: 20, label: 1 }, { x: 3, y: 4, label: 0 }] }, resize);
    expect([...coords]).toEqual([20, 40, 6, 8, 0, 0]);
    expect([...labels]).toEqual([1, 0, -1]);
  });

  it("have the corners of a box as points with labels 2 and 3, and no padding", () => {
    const { coords, labels } = decoding.pointsOf({ points: [{ x: 1, y: 1, label: 0 }], box: [1, 2, 3, 4] }, resize);
    expect([...coords]).toEqual([2, 2, 2, 4, 6, 8]);
    expect([...labels]).toEqual([0, 2, 3]);
  });

  it("may mean several things when they are one point or one box, and nothing else", () => {
    const point = { x: 1, y: 1, label: 1 } as const;
    const box: [number, number, number, number] = [0, 0, 1, 1];
    const maskInput = { data: new Float32Array(16), rows: 4, columns: 4 };
    const cases = [{ points: [point] }, { points: [], box }, { points: [point, point] }, { points: [point], box }, { points: [point], maskInput }];
    expect(cases.map(decoding.isAmbiguous)).toEqual([true, true, false, false, false]);
  });
});

describe("logits", () => {
  it("are stable where few lie near zero", () => {
    expect(decoding.stabilityScore(Float32Array.of(2, 2, 0.5, -0.5, -2))).toBe(0.5);
    expect(decoding.stabilityScore(Float32Array.of(-3, -4))).toBe(0);
  });

  it("go to the whole square and back, as sure as anywhere that there is nothing where there is no picture", () => {
    const lowRes = { data: Float32Array.from({ length: 4 * 8 }, (_, at) => at - 5), rows: 4, columns: 8 };
    const square = decoding.overSquare(lowRes, 2);
    expect(square.length).toBe(64);
    expect(square[63]).toBe(-5);
    expect(decoding.cropped(square, 8, [1, 2])).toEqual(lowRes);
  });

  it("keep their value in half precision and base64", () => {
    const exact = [0, 1, -1, 0.5, 1024, -2048.0, 65504, 2 ** -14, 2 ** -24, -3 * 2 ** -20, 0.333251953125];
    const halves = decoding.toFloat16(Float32Array.from(exact));
    expect([...decoding.fromFloat16(halves)]).toEqual(exact);
    const bytes = decoding.fromBase64(decoding.toBase64(new Uint8Array(halves.buffer)));
    expect([...new Uint16Array(bytes.buffer)]).toEqual([...halves]);
    expect([...decoding.fromFloat16(decoding.toFloat16(Float32Array.of(1e9, 2.0009, 1023.99)))]).toEqual([65504, 2, 1024]);
    expect([...halves.slice(0, 4)]).toEqual([0, 0x3c00, 0xbc00, 0x3800]);
    expect([...decoding.fromFloat16(Uint16Array.of(0x7c00, 0xfc00, 0x7e00))]).toEqual([Infinity, -Infinity, NaN]);
  });
});
