/**
 * COCO's compressed run lengths, character for character as pycocotools writes them.
 *
 * `Runs` is a mask at rest: small, never changed, and quick to ask for a pixel or to draw at any scale. Its cost grows
 * with the runs of the mask, not with the picture.
 */
import type { Size } from "../model/resize";
import type { Rle } from "../project/types";

/** Left, top, right, bottom in pixels, half open; without pixels when a side has no length. */
export type Box = [number, number, number, number];

/** Where each run ends, counted column by column; runs are background and mask in turn, the first is background. */
export interface Runs {
  readonly size: Size;
  readonly ends: Uint32Array;
}

/** The runs in COCO's text; throws where they do not fill the size exactly. */
export function decodeRle(rle: Rle): Runs {
  const [height, width] = rle.size;
  const counts: number[] = [];
  const { counts: text } = rle;
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let shift = 0;
    let digit: number;
    do {
      digit = text.charCodeAt(at++) - 48;
      if (!(digit >= 0 && digit < 64) || shift > 30) throw damaged(rle);
      value += (digit & 31) * 2 ** shift;
      shift += 5;
    } while (digit & 32);
    if (digit & 16) value -= 2 ** shift;
    // From the fourth on, a count is written as its difference from the last one of its kind.
    if (counts.length > 2) value += counts[counts.length - 2]!;
    if (value < 0) throw damaged(rle);
    counts.push(value);
  }
  const ends = new Uint32Array(counts.length);
  let end = 0;
  for (let index = 0; index < counts.length; index++) ends[index] = end += counts[index]!;
  if (end !== height * width) throw damaged(rle);
  return { size: [height, width], ends };
}

export function encodeRle(runs: Runs): Rle {
  const text: string[] = [];
  const { ends } = runs;
  const count = (index: number): number => ends[index]! - (index ? ends[index - 1]! : 0);
  for (let index = 0; index < ends.length; index++) {
    let rest = count(index) - (index > 2 ? count(index - 2) : 0);
    for (let more = true; more; ) {
      const digit = rest & 31;
      rest >>= 5;
      more = digit & 16 ? rest !== -1 : rest !== 0;
      text.push(String.fromCharCode((more ? digit | 32 : digit) + 48));
    }
  }
  return { size: [runs.size[0], runs.size[1]], counts: text.join("") };
}

/** Whether the mask has the pixel (x, y). */
export function contains(runs: Runs, x: number, y: number): boolean {
  const [height, width] = runs.size;
  if (x < 0 || y < 0 || x >= width || y >= height) return false;
  return firstEndAfter(runs.ends, Math.floor(x) * height + Math.floor(y)) % 2 === 1;
}

export function runsArea(runs: Runs): number {
  let area = 0;
  for (let index = 1; index < runs.ends.length; index += 2) area += runs.ends[index]! - runs.ends[index - 1]!;
  return area;
}

/** The tight box; [0, 0, 0, 0] for an empty mask. */
export function runsBox(runs: Runs): Box {
  const box: Box = [Infinity, Infinity, 0, 0];
  forEachSpan(runs, (x, top, bottom) => {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], top);
    box[2] = x + 1;
    box[3] = Math.max(box[3], bottom);
  });
  return box[2] ? box : [0, 0, 0, 0];
}

/** Calls back for each piece of a column inside the mask, rows top to bottom half open, from left to right. */
export function forEachSpan(runs: Runs, visit: (x: number, top: number, bottom: number) => void): void {
  const height = runs.size[0];
  for (let index = 1; index < runs.ends.length; index += 2) {
    const end = runs.ends[index]!;
    for (let at = runs.ends[index - 1]!; at < end; ) {
      const x = Math.floor(at / height);
      const stop = Math.min(end, (x + 1) * height);
      visit(x, at - x * height, stop - x * height);
      at = stop;
    }
  }
}

/** The mask at the columns xs and rows ys of the picture, both rising: row by row, 1 inside. */
export function sampleRuns(runs: Runs, xs: Int32Array, ys: Int32Array): Uint8Array<ArrayBuffer> {
  const height = runs.size[0];
  const { ends } = runs;
  const sampled = new Uint8Array(xs.length * ys.length);
  for (let column = 0; column < xs.length; column++) {
    const start = xs[column]! * height;
    for (let index = firstEndAfter(ends, start) | 1; index < ends.length; index += 2) {
      const top = ends[index - 1]! - start;
      if (top >= height) break;
      const bottom = ends[index]! - start;
      for (let row = firstFrom(ys, top); row < ys.length && ys[row]! < bottom; row++) {
        sampled[row * xs.length + column] = 1;
      }
    }
  }
  return sampled;
}

function firstEndAfter(ends: Uint32Array, position: number): number {
  let low = 0;
  let high = ends.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ends[middle]! > position) high = middle;
    else low = middle + 1;
  }
  return low;
}

function firstFrom(values: Int32Array, least: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle]! >= least) high = middle;
    else low = middle + 1;
  }
  return low;
}

function damaged(rle: Rle): RangeError {
  return new RangeError(`A saved mask is damaged: its runs do not fill ${rle.size[1]} x ${rle.size[0]} pixels.`);
}
