/** Anything that can be drawn as a mask: at rest, as logits of the model, or with corrections under the brush. */
import { around, clipped, drawRuns, drawStroke, emptyMask, fillPolygon, isEmpty, maskToRuns, NOTHING } from "./mask";
import type { BitMask, Position } from "./mask";
import { Resize, type Size } from "../model/resize";
import { decodeRle, runsBox, sampleRuns, type Box, type Runs } from "./rle";
import type { Candidate } from "../model/segmenter";
import type { Rle } from "../project/types";
import { cellsAbove, upscaleLogits } from "./upscale";

export interface Shape {
  /** Where pixels can be. */
  readonly box: Box;
  /** The mask at the columns xs and rows ys of the picture, both rising: row by row, 1 inside. */
  sample(xs: Int32Array, ys: Int32Array): Uint8Array<ArrayBuffer>;
}

export class RunsShape implements Shape {
  readonly box: Box;

  constructor(readonly runs: Runs) {
    this.box = runsBox(runs);
  }

  sample(xs: Int32Array, ys: Int32Array): Uint8Array<ArrayBuffer> {
    return sampleRuns(this.runs, xs, ys);
  }
}

const known = new WeakMap<Rle, RunsShape>();

/** A saved mask; empty where it is damaged, or of a picture of another size and would be drawn in the wrong place. */
export function rleShape(rle: Rle, size: Size): RunsShape {
  let shape = known.get(rle);
  if (!shape) known.set(rle, (shape = new RunsShape(readRuns(rle, size))));
  return shape;
}

function readRuns(rle: Rle, [height, width]: Size): Runs {
  const nothing: Runs = { size: [height, width], ends: Uint32Array.of(height * width) };
  try {
    const runs = decodeRle(rle);
    return runs.size[0] === height && runs.size[1] === width ? runs : nothing;
  } catch {
    return nothing;
  }
}

export class CandidateShape implements Shape {
  readonly box: Box;
  private readonly resize: Resize;

  constructor(
    private readonly candidate: Candidate,
    size: Size,
  ) {
    const { data, rows, columns } = candidate.lowRes;
    // The longest side of the picture fills the square, so the longer side of the grid is the square's.
    this.resize = new Resize(size, 4 * Math.max(rows, columns));
    const [left, top, right, bottom] = cellsAbove(data, rows, columns, 0);
    const cell = 4 / this.resize.scale;
    this.box =
      left < right
        ? clipped([(left - 2) * cell, (top - 2) * cell, (right + 2) * cell, (bottom + 2) * cell], size[1], size[0])
        : NOTHING;
  }

  sample(xs: Int32Array, ys: Int32Array): Uint8Array<ArrayBuffer> {
    const { data, rows, columns } = this.candidate.lowRes;
    return upscaleLogits(data, rows, columns, this.resize, xs, ys);
  }
}

const ADDED = 1;
const REMOVED = 2;

/** What the hand adds to a mask and takes from it; stays when the model's mask under it changes. */
export interface Corrections {
  readonly added: Runs | null;
  readonly removed: Runs | null;
}

/** Corrections while they are made. */
export class CorrectionLayer {
  private readonly mask: BitMask;
  private touched: Box = NOTHING;

  constructor(
    readonly size: Size,
    from: Corrections,
  ) {
    this.mask = emptyMask(size[1], size[0]);
    for (const [runs, value] of [[from.added, ADDED], [from.removed, REMOVED]] as const) {
      if (!runs) continue;
      drawRuns(this.mask, runs, value);
      this.touched = around(this.touched, runsBox(runs));
    }
  }

  /** Where corrections can be. */
  get box(): Box {
    return this.touched;
  }

  /** One step of the brush; gives the box that it touched. */
  stroke(from: Position, to: Position, radius: number, add: boolean): Box {
    return this.keep(drawStroke(this.mask, from, to, radius, add ? ADDED : REMOVED));
  }

  polygon(corners: readonly Position[], add: boolean): Box {
    return this.keep(fillPolygon(this.mask, corners, add ? ADDED : REMOVED));
  }

  /** Sets pieces of rows, as the clean-up finds them. */
  pieces(pieces: readonly { from: number; to: number; y: number }[], add: boolean): void {
    for (const { from, to, y } of pieces) {
      const start = y * this.mask.width;
      this.mask.data.fill(add ? ADDED : REMOVED, start + from, start + to);
      this.keep([from, y, to, y + 1]);
    }
  }

  atRest(): Corrections {
    const runs = (value: number): Runs | null => {
      const found = maskToRuns(this.mask, this.touched, value);
      return found.ends.length > 1 ? found : null;
    };
    return { added: runs(ADDED), removed: runs(REMOVED) };
  }

  /** Corrects what was sampled at xs and ys. */
  correct(sampled: Uint8Array, xs: Int32Array, ys: Int32Array): void {
    const [left, top, right, bottom] = this.touched;
    ys.forEach((y, row) => {
      if (y < top || y >= bottom) return;
      for (let column = 0; column < xs.length; column++) {
        const x = xs[column]!;
        if (x < left || x >= right) continue;
        const value = this.mask.data[y * this.mask.width + x];
        if (value) sampled[row * xs.length + column] = value === ADDED ? 1 : 0;
      }
    });
  }

  private keep(box: Box): Box {
    this.touched = around(this.touched, box);
    return box;
  }
}

/** A mask, or nothing, with corrections over it. */
export class CorrectedShape implements Shape {
  constructor(
    private readonly base: Shape | null,
    private readonly layer: CorrectionLayer,
  ) {}

  get box(): Box {
    return around(this.base?.box ?? NOTHING, this.layer.box);
  }

  sample(xs: Int32Array, ys: Int32Array): Uint8Array<ArrayBuffer> {
    const sampled = this.base?.sample(xs, ys) ?? new Uint8Array(xs.length * ys.length);
    this.layer.correct(sampled, xs, ys);
    return sampled;
  }
}

/** All pixels of a shape. Only its box is looked at. */
export function shapeToMask(shape: Shape, [height, width]: Size): BitMask {
  const mask = emptyMask(width, height);
  const [left, top, right, bottom] = shape.box;
  if (isEmpty(shape.box)) return mask;
  const sampled = shape.sample(indices(left, right), indices(top, bottom));
  for (let y = top; y < bottom; y++) {
    const start = (y - top) * (right - left);
    mask.data.set(sampled.subarray(start, start + right - left), y * width + left);
  }
  return mask;
}

export function indices(from: number, to: number): Int32Array {
  return Int32Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}
