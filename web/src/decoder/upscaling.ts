/** From the last image tokens of a prompt to its masks: only cells of the picture, only the masks asked for. */
import type { Picture } from "./image_side";
import { ROW, TILE } from "./kernels";
import type { PromptSide } from "./prompt_side";
import { padded, type Scratch } from "./scratch";
import type { Run } from "./tokens";

const NORM_EPS = 1e-6;
/** Places in a cell after each of the two upscalings. */
const PLACES = 4;

/** Masks of `count` hypernetworks, `hyper` (count x 64), into `scratch.masks`: each row by row, in pixels of the low resolution. */
export function upscale(run: Run, picture: Picture, side: PromptSide, scratch: Scratch, hyper: number, count: number): void {
  const { kernels, team, weights } = run;
  const { channels, firstUpscaling, secondUpscaling } = weights;
  const rows = padded(side.count + 1);
  const [height, width] = picture.grid;
  prepare(run, side, scratch, rows);
  const quarter = channels / PLACES;
  const half = channels / 2; // places times channels after the second upscaling
  for (let tile = team.number; tile < Math.ceil((height * width) / TILE); tile += team.size) {
    const cells = picture.cells + tile * ROW;
    const { picked, upscaled, upscaledTwice, pixels } = scratch;
    kernels.pick(picked, scratch.rows, scratch.room * ROW, rows, cells);
    const last = picked + side.count * ROW;
    kernels.pick(last, scratch.scale, ROW, 1, cells);
    kernels.reciprocal(last, last);
    kernels.copyRows(upscaled, picture.upscaled + tile * channels * ROW, channels);
    kernels.product(upscaled, ROW, scratch.upscaling, 4 * rows, picked, channels, rows);
    for (let place = 0; place < PLACES; place++) {
      const from = upscaled + place * quarter * ROW;
      const { weight, bias } = firstUpscaling.norm;
      kernels.normAndGelu(from, quarter, weight, bias, NORM_EPS);
      kernels.clear(upscaledTwice, half);
      kernels.product(upscaledTwice, ROW, secondUpscaling.matrix, 4 * quarter, from, half, quarter);
      kernels.biasAndGelu(upscaledTwice, half, secondUpscaling.bias);
      kernels.clear(pixels, PLACES * count);
      for (let within = 0; within < PLACES; within++) {
        const to = pixels + within * count * ROW;
        kernels.product(to, ROW, hyper, ROW, upscaledTwice + (within * half * ROW) / PLACES, count, half / PLACES);
      }
      scatter(run.values, pixels, scratch.masks, tile, place, count, picture.grid);
    }
  }
}

/** The first upscaling of the vectors, and last that of a constant; each thread makes its share of the rows. */
function prepare({ kernels, values, team, weights }: Run, side: PromptSide, scratch: Scratch, columns: number): void {
  const { channels, firstUpscaling } = weights;
  const share = padded(Math.ceil(channels / team.size));
  const first = Math.min(channels, team.number * share);
  const count = Math.min(channels, first + share) - first;
  const lanes = scratch.upscalingLanes + 16 * first * columns;
  values.fill(0, lanes / 4, lanes / 4 + 4 * count * columns);
  for (let part = 0; part < channels / TILE; part++) {
    const matrix = firstUpscaling.matrix.at + (part * channels + first) * ROW;
    kernels.correlate(lanes, matrix, ROW, scratch.vectors + part * scratch.room * ROW, count, columns);
  }
  kernels.sumLanes(scratch.upscaling + 4 * first * columns, lanes, count * columns);
  for (let row = first; row < first + count; row++) {
    values[scratch.upscaling / 4 + row * columns + side.count] = values[firstUpscaling.bias / 4 + row]!;
  }
  team.meet();
}

/** Pixels of a tile of cells, at one place of the first upscaling, to where they belong in each mask. */
function scatter(
  values: Float32Array,
  pixels: number,
  masks: number,
  tile: number,
  place: number,
  count: number,
  [rows, columns]: [number, number],
): void {
  const cells = rows * columns;
  const wide = 4 * columns;
  for (let within = 0; within < PLACES; within++) {
    const shift = (2 * (place >> 1) + (within >> 1)) * wide + 2 * (place & 1) + (within & 1);
    for (let mask = 0; mask < count; mask++) {
      const from = pixels / 4 + (within * count + mask) * TILE;
      const to = masks / 4 + mask * 16 * cells + shift;
      let row = Math.floor((tile * TILE) / columns);
      let column = (tile * TILE) % columns;
      for (let index = 0; index < Math.min(TILE, cells - tile * TILE); index++) {
        values[to + 4 * (row * wide + column)] = values[from + index]!;
        if (++column === columns) [row, column] = [row + 1, 0];
      }
    }
  }
}
