import { describe, expect, it } from "vitest";
import { adopting, BLANK, candidateShape, draftAnnotation, operationsBetween, shed, withRuns } from "../src/document";
import type { Draft, State } from "../src/document";
import { maskToRuns } from "../src/masks/mask";
import { encodeRle } from "../src/masks/rle";
import { CorrectedShape, CorrectionLayer, rleShape, RunsShape, shapeToMask } from "../src/masks/shapes";
import type { Annotation } from "../src/project/types";
import { DiscModel } from "./disc_model";
import { drawing, everyIndex, fromDrawing } from "./pixels";

const annotation = (id: string): Annotation => ({ ...draftAnnotation(BLANK, SQUARE, "picture", null), id });
const SQUARE = maskToRuns(fromDrawing("....", ".##.", ".##.", "...."));
const state = (...annotations: Annotation[]): State => ({ draft: null, annotations });

describe("the document", () => {
  it("tells what changed from one state to another, and the contrary on the way back", () => {
    const [one, two, three] = ["one", "two", "three"].map(annotation) as [Annotation, Annotation, Annotation];
    const changed = { ...two, label: "cat" };
    const [before, after] = [state(one, two), state(changed, three)];
    expect(operationsBetween(before, after)).toEqual([
      { kind: "update", annotation: changed, before: two },
      { kind: "add", annotation: three },
      { kind: "remove", annotation: one },
    ]);
    expect(operationsBetween(after, before)).toEqual([
      { kind: "add", annotation: one },
      { kind: "update", annotation: two, before: changed },
      { kind: "remove", annotation: three },
    ]);
    expect(operationsBetween(before, { ...before, draft: BLANK })).toEqual([]);
  });

  it("takes over what the server has, in every state alike", () => {
    const [one, two, three] = ["one", "two", "three"].map(annotation) as [Annotation, Annotation, Annotation];
    const changed = { ...one, label: "cat" };
    const [first, second] = [state(one, two), state(two)];
    const same = { ...first, draft: BLANK };
    const adopted = [first, same, second].map(adopting("one", changed));
    expect(adopted.map(({ annotations }) => annotations)).toEqual([[changed, two], [changed, two], [two, changed]]);
    expect(operationsBetween(adopted[0]!, adopted[1]!)).toEqual([]);
    expect(adopting("one", null)(first).annotations).toEqual([two]);
    expect(adopting("three", three)(second).annotations).toEqual([two, three]);
    expect(adopting("three", null)(second).annotations).toEqual([two]);
  });

  it("makes of a draft an annotation that says how it came about", async () => {
    const model = new DiscModel([4, 4]);
    const { candidates } = await model.predict({ points: [{ x: 1, y: 2, label: 1 }] });
    const points = [{ x: 1, y: 2, label: 1 as const }];
    const draft: Draft = { ...BLANK, points, candidates, chosen: 1, box: [0, 0, 3, 4] };
    const made = draftAnnotation(draft, SQUARE, "picture", "cat");
    expect(made).toMatchObject({
      image_id: "picture",
      label: "cat",
      source: "interactive",
      bbox: [1, 1, 2, 2],
      area: 4,
      predicted_iou: candidates[1]!.predictedIou,
      prompt: { point_coords: [[1, 2]], point_labels: [1], box: [0, 0, 3, 4] },
    });
    const manual = draftAnnotation(BLANK, SQUARE, "picture", null);
    expect(manual).toMatchObject({ source: "manual", prompt: {}, label: null });
    expect(manual.id).not.toBe(made.id);
  });

  it("gives another mask its own box and area", () => {
    const line = maskToRuns(fromDrawing("....", "....", "....", "####"));
    expect(withRuns(annotation("one"), line)).toMatchObject({ id: "one", bbox: [0, 3, 4, 1], area: 4 });
  });

  it("sheds answers, not what was asked", async () => {
    const { candidates } = await new DiscModel([4, 4]).predict({ points: [] });
    const points = [{ x: 1, y: 2, label: 1 as const }];
    const old = shed({ draft: { ...BLANK, points, candidates }, annotations: [] });
    expect(old.draft).toMatchObject({ points, candidates: [], pending: true });
    const manual = { draft: { ...BLANK, added: SQUARE }, annotations: [] };
    expect(shed(manual)).toBe(manual);
  });
});

describe("corrections", () => {
  it("stay over a mask, at any scale, and come to rest and back", () => {
    const base = new RunsShape(SQUARE);
    const layer = new CorrectionLayer([4, 4], { added: null, removed: null });
    layer.polygon([{ x: 0, y: 0 }, { x: 4, y: 0 }, { x: 4, y: 2 }, { x: 0, y: 2 }], true);
    layer.stroke({ x: 1.5, y: 1.5 }, { x: 1.5, y: 1.5 }, 0.4, false);
    const expected = ["####", "#.##", ".##.", "...."];
    expect(drawing(shapeToMask(new CorrectedShape(base, layer), [4, 4]))).toEqual(expected);
    const again = new CorrectedShape(base, new CorrectionLayer([4, 4], layer.atRest()));
    expect(drawing(shapeToMask(again, [4, 4]))).toEqual(expected);
    const [xs, ys] = [Int32Array.of(1, 1, 3), Int32Array.of(0, 1, 3)];
    expect([...again.sample(xs, ys)]).toEqual([1, 1, 1, 0, 0, 1, 0, 0, 0]);
  });

  it("that take everything back are none", () => {
    const layer = new CorrectionLayer([4, 4], { added: null, removed: null });
    expect(layer.atRest()).toEqual({ added: null, removed: null });
  });
});

describe("a saved mask", () => {
  it("that is damaged, or of another picture, is drawn as nothing", () => {
    const rle = encodeRle(SQUARE);
    expect(rleShape(rle, [4, 4]).box).toEqual([1, 1, 3, 3]);
    expect(rleShape({ ...rle }, [4, 5]).box).toEqual([0, 0, 0, 0]);
    expect(rleShape({ ...rle, counts: "!" }, [4, 4]).box).toEqual([0, 0, 0, 0]);
  });
});

describe("a candidate", () => {
  it("has all of its pixels inside its box", async () => {
    for (const size of [[300, 200], [97, 640], [1500, 2000]] as [number, number][]) {
      const { candidates } = await new DiscModel(size).predict({ points: [{ x: 90, y: 60, label: 1 }] });
      for (const candidate of candidates) {
        const shape = candidateShape(candidate, size);
        const [left, top, right, bottom] = shape.box;
        const sampled = shape.sample(everyIndex(size[1]), everyIndex(size[0]));
        const outside = sampled.findIndex((pixel, at) => {
          const [x, y] = [at % size[1], Math.floor(at / size[1])];
          return pixel === 1 && !(x >= left && x < right && y >= top && y < bottom);
        });
        expect(outside).toBe(-1);
        expect(sampled.includes(1)).toBe(true);
      }
    }
  });
});
