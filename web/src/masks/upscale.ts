/**
 * From the decoder's logits to pixels of the picture: only those asked for.
 *
 * Each pixel is made of three by three cells. Where all of these are above the threshold so is the pixel, and where
 * none is it is not; so only pixels near the outline are calculated.
 */
import { MASK_STRIDE, type Resize } from "../model/resize";
import type { Box } from "./rle";

/**
 * The decoder's mask at the columns xs and rows ys of the picture, both rising: row by row, 1 where the logit is above
 * the threshold. The same two interpolations as `geometry.Resize.restore_masks`, taken together.
 *
 * @param logits row by row, of the top left `rows` x `columns` cells of the square (at least those the picture covers)
 */
export function upscaleLogits(
  logits: Float32Array,
  rows: number,
  columns: number,
  resize: Resize,
  xs: Int32Array = every(resize.originalSize[1]),
  ys: Int32Array = every(resize.originalSize[0]),
  threshold = 0,
): Uint8Array<ArrayBuffer> {
  const sampled = new Uint8Array(xs.length * ys.length);
  const across = tapsOf(xs, resize.originalSize[1], resize.inputSize[1], columns);
  const above = new Uint8Array(columns);
  for (const group of tapsOf(ys, resize.originalSize[0], resize.inputSize[0], rows)) {
    const starts = group.cells.map((row) => row * columns) as Triple;
    for (let column = 0; column < columns; column++) {
      above[column] =
        Number(logits[starts[0] + column]! > threshold) +
        Number(logits[starts[1] + column]! > threshold) +
        Number(logits[starts[2] + column]! > threshold);
    }
    let run = 0; // where the pixels begin that are surely inside and not filled yet
    let end = 0;
    for (const part of across) {
      const cells = above[part.cells[0]]! + above[part.cells[1]]! + above[part.cells[2]]!;
      if (cells && cells < 9) calculate(sampled, xs.length, logits, starts, group, part, threshold);
      if (cells < 9) continue;
      if (part.from !== end) {
        fill(sampled, xs.length, group, run, end);
        run = part.from;
      }
      end = part.to;
    }
    fill(sampled, xs.length, group, run, end);
  }
  return sampled;
}

type Triple = [number, number, number];

/** Neighbouring pixels along one axis that are made of the same three cells, and what each cell weighs in each. */
interface Taps {
  from: number;
  to: number;
  cells: Triple;
  weights: number[];
}

function fill(sampled: Uint8Array, width: number, rows: Taps, from: number, to: number): void {
  for (let row = rows.from; row < rows.to && from < to; row++) sampled.fill(1, row * width + from, row * width + to);
}

function calculate(
  sampled: Uint8Array,
  width: number,
  logits: Float32Array,
  starts: Triple,
  down: Taps,
  across: Taps,
  threshold: number,
): void {
  const [upper, middle, lower] = starts;
  const [first, second, third] = across.cells;
  const { weights } = across;
  for (let row = down.from, tap = 0; row < down.to; row++, tap += 3) {
    const a = down.weights[tap]!;
    const b = down.weights[tap + 1]!;
    const c = down.weights[tap + 2]!;
    const left = a * logits[upper + first]! + b * logits[middle + first]! + c * logits[lower + first]!;
    const centre = a * logits[upper + second]! + b * logits[middle + second]! + c * logits[lower + second]!;
    const right = a * logits[upper + third]! + b * logits[middle + third]! + c * logits[lower + third]!;
    for (let column = across.from, place = 0; column < across.to; column++, place += 3) {
      const logit = weights[place]! * left + weights[place + 1]! * centre + weights[place + 2]! * right;
      if (logit > threshold) sampled[row * width + column] = 1;
    }
  }
}

/** From the decoder's grid to the input frame, then to the picture: two neighbours each time, at most three cells. */
function tapsOf(pixels: Int32Array, side: number, inputSide: number, cells: number): Taps[] {
  const groups: Taps[] = [];
  pixels.forEach((pixel, index) => {
    const [first, second, share] = neighbours((pixel + 0.5) * (inputSide / side) - 0.5, inputSide);
    const [start, one, part] = neighbours((first + 0.5) / MASK_STRIDE - 0.5, cells);
    const [other, two, rest] = neighbours((second + 0.5) / MASK_STRIDE - 0.5, cells);
    const weights: Triple = [(1 - share) * (1 - part), 0, 0];
    weights[one - start]! += (1 - share) * part;
    weights[other - start]! += share * (1 - rest);
    weights[two - start]! += share * rest;
    let group = groups.at(-1);
    if (group?.cells[0] !== start) {
      const three: Triple = [start, Math.min(start + 1, cells - 1), Math.min(start + 2, cells - 1)];
      groups.push((group = { from: index, to: index, cells: three, weights: [] }));
    }
    group.to = index + 1;
    group.weights.push(weights[0], weights[1], weights[2]);
  });
  return groups;
}

/** Two neighbours of a position between centres, and the weight of the second; at the border both are the same. */
function neighbours(position: number, length: number): [number, number, number] {
  const inside = Math.max(0, position);
  const first = Math.min(Math.floor(inside), length - 1);
  return [first, Math.min(first + 1, length - 1), inside - Math.floor(inside)];
}

/** The tight box of the cells above a threshold; its left side is right of its right one where there are none. */
export function cellsAbove(logits: Float32Array, rows: number, columns: number, threshold: number): Box {
  const box: Box = [columns, rows, 0, 0];
  for (let row = 0, at = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, at++) {
      if (!(logits[at]! > threshold)) continue;
      box[0] = Math.min(box[0], column);
      box[1] = Math.min(box[1], row);
      box[2] = Math.max(box[2], column + 1);
      box[3] = row + 1;
    }
  }
  return box;
}

function every(length: number): Int32Array {
  return Int32Array.from({ length }, (_, index) => index);
}
