/** From the decoder's logits to pixels of the picture: only those asked for, and only where a mask can be. */
import { MASK_STRIDE, type Resize } from "./resize";
import type { Box } from "./rle";

/**
 * The decoder's mask at the columns xs and rows ys of the picture, both rising: row by row, 1 where the logit is above
 * the threshold. The same two interpolations as `geometry.Resize.restore_masks`, taken together: three cells each way.
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
  const across = new Taps(xs, resize.originalSize[1], resize.inputSize[1], columns);
  const down = new Taps(ys, resize.originalSize[0], resize.inputSize[0], rows);
  const [left, top, right, bottom] = cellsAbove(logits, rows, columns, threshold);
  const [from, to] = across.touching(left, right);
  const [fromRow, toRow] = down.touching(top, bottom);
  const sampled = new Uint8Array(xs.length * ys.length);
  if (from >= to || fromRow >= toRow) return sampled;
  const span = to - from;
  const firstCell = down.cells[3 * fromRow]!;
  const band = widened(logits, columns, across, from, to, firstCell, down.cells[3 * toRow - 1]! + 1);
  for (let row = fromRow; row < toRow; row++) {
    const [one, two, three] = [0, 1, 2].map((tap) => (down.cells[3 * row + tap]! - firstCell) * span) as Triple;
    const [a, b, c] = down.weights.subarray(3 * row, 3 * row + 3) as unknown as Triple;
    const start = row * xs.length + from;
    for (let index = 0; index < span; index++) {
      if (a * band[one + index]! + b * band[two + index]! + c * band[three + index]! > threshold) {
        sampled[start + index] = 1;
      }
    }
  }
  return sampled;
}

type Triple = [number, number, number];

/** The three cells along one axis that a pixel's logit is made of, and what each weighs. */
class Taps {
  readonly cells: Int32Array;
  readonly weights: Float64Array;

  constructor(pixels: Int32Array, side: number, inputSide: number, cells: number) {
    this.cells = new Int32Array(3 * pixels.length);
    this.weights = new Float64Array(3 * pixels.length);
    for (let index = 0; index < pixels.length; index++) {
      const [first, second, share] = neighbours((pixels[index]! + 0.5) * (inputSide / side) - 0.5, inputSide);
      const start = neighbours((first + 0.5) / MASK_STRIDE - 0.5, cells)[0];
      for (let tap = 0; tap < 3; tap++) this.cells[3 * index + tap] = Math.min(start + tap, cells - 1);
      for (const [pixel, weight] of [[first, 1 - share], [second, share]] as const) {
        const [cell, next, part] = neighbours((pixel + 0.5) / MASK_STRIDE - 0.5, cells);
        this.weights[3 * index + cell - start]! += weight * (1 - part);
        this.weights[3 * index + next - start]! += weight * part;
      }
    }
  }

  /** The places (first, one past the last) that any of the cells from `first` to before `last` has a part in. */
  touching(first: number, last: number): [number, number] {
    const places = this.cells.length / 3;
    let from = 0;
    while (from < places && this.cells[3 * from + 2]! < first) from++;
    let to = places;
    while (to > from && this.cells[3 * to - 3]! >= last) to--;
    return [from, to];
  }
}

/** Two neighbours of a position between centres, and the weight of the second; at the border both are the same. */
function neighbours(position: number, length: number): [number, number, number] {
  const inside = Math.max(0, position);
  const first = Math.min(Math.floor(inside), length - 1);
  return [first, Math.min(first + 1, length - 1), inside - Math.floor(inside)];
}

function widened(
  logits: Float32Array,
  columns: number,
  across: Taps,
  from: number,
  to: number,
  firstRow: number,
  lastRow: number,
): Float64Array {
  const { cells, weights } = across;
  const band = new Float64Array((lastRow - firstRow) * (to - from));
  for (let row = firstRow, at = 0; row < lastRow; row++) {
    const start = row * columns;
    for (let tap = 3 * from; tap < 3 * to; tap += 3) {
      band[at++] =
        weights[tap]! * logits[start + cells[tap]!]! +
        weights[tap + 1]! * logits[start + cells[tap + 1]!]! +
        weights[tap + 2]! * logits[start + cells[tap + 2]!]!;
    }
  }
  return band;
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
