/** What the decoder needs of a picture, whatever the prompts: made once, tile by tile, each thread its tiles. */
import { ROW, TILE } from "./kernels";
import { Arena } from "./store";
import { positionOf, type Run } from "./tokens";
import { MASK_CHANNELS, MASK_ROWS, type Weights } from "./weights";

/** Where the parts of a picture lie: tile t of all cells at `tiles + t * stride`, and rows in it. */
export interface Picture {
  tiles: number;
  stride: number;
  /** Of wanted cells: their numbers, and what the first upscaling makes of them, tile by tile. */
  cells: number;
  upscaled: number;
  /** Rows and columns of cells that the picture covers. */
  grid: [number, number];
}

/** Rows of a picture's tile; of those that a layer has several of, the first. */
export interface Rows {
  layers: { keys: number; values: number; queries: number; outs: number[]; mask: number; variance: number }[];
  final: { keys: number; values: number };
  count: number;
}

export function rowsOf({ layers, width, image }: Weights): Rows {
  let next = 0;
  const take = (count: number): number => (next += count) - count;
  const parts = layers.map((_, number) => ({
    keys: take(width),
    values: take(width),
    queries: take(width),
    outs: layers.slice(0, number + 1).map(({ write }) => take(write.outs.rows)),
    mask: image.masks + number * MASK_ROWS,
    variance: image.rows + number,
  }));
  return { layers: parts, final: { keys: take(width), values: take(width) }, count: image.rows + layers.length };
}

export function cellsOf({ imageSize }: Weights): number {
  return (imageSize / 16) ** 2;
}

export function pictureAt(arena: Arena, weights: Weights): Picture {
  const count = cellsOf(weights);
  const stride = rowsOf(weights).count * ROW;
  return {
    stride,
    tiles: arena.floats(((count / TILE) * stride) / 4),
    cells: arena.floats(count),
    upscaled: arena.floats(count * weights.channels),
    grid: [0, 0],
  };
}

/** The position codes' projections: tile t at `codes + t * code.rows * ROW`. `scratch` has room for a tile of channels. */
export function projectPositions({ kernels, values, team, weights }: Run, codes: number, scratch: number): void {
  const { channels, code, imageSize } = weights;
  const side = imageSize / 16;
  for (let tile = team.number; tile < cellsOf(weights) / TILE; tile += team.size) {
    for (let column = 0; column < TILE; column++) {
      const cell = tile * TILE + column;
      const place: [number, number] = [((cell % side) + 0.5) / side, (Math.floor(cell / side) + 0.5) / side];
      positionOf(values, weights, place, (channel, value) => (values[scratch / 4 + channel * TILE + column] = value));
    }
    const to = codes + tile * code.rows * ROW;
    for (let row = 0; row < code.rows; row++) {
      values.fill(values[code.bias / 4 + row]!, to / 4 + row * TILE, to / 4 + (row + 1) * TILE);
    }
    kernels.product(to, ROW, code.at, 4 * channels, scratch, code.rows, channels);
  }
}

/**
 * Projects a picture's tokens.
 *
 * @param tokens tile by tile, `channels` rows each: embeddings with what an absent mask adds to them
 * @param scratch room for a tile of channels
 */
export function projectPicture(run: Run, picture: Picture, tokens: number, codes: number, scratch: number): void {
  const { kernels, team, weights } = run;
  const { channels, image, code, width, upscaledImage } = weights;
  const rows = rowsOf(weights);
  const count = cellsOf(weights) / TILE;
  for (let tile = team.number; tile < count; tile += team.size) {
    const from = tokens + tile * channels * ROW;
    const to = picture.tiles + tile * picture.stride;
    kernels.clear(to, image.rows);
    const [first] = rows.layers;
    // The keys and queries of the first layer have their position codes in them.
    const coded = codes + tile * code.rows * ROW;
    kernels.copyRows(to + first!.keys * ROW, coded, width);
    kernels.copyRows(to + first!.queries * ROW, coded + width * ROW, width);
    kernels.product(to, ROW, image.at, 4 * channels, from, image.rows, channels);
    variances(run, from, to, scratch);
  }
  const wanted = picture.grid[0] * picture.grid[1];
  for (let tile = team.number; tile < Math.ceil(wanted / TILE); tile += team.size) {
    kernels.pick(scratch, tokens, channels * ROW, channels, picture.cells + tile * ROW);
    const to = picture.upscaled + tile * channels * ROW;
    kernels.clear(to, channels);
    kernels.product(to, ROW, upscaledImage, 4 * channels, scratch, channels, channels);
  }
}

/** Of X of each layer over its channels: the tokens without their mean, times the weight of the layer before. */
function variances({ values, weights }: Run, tokens: number, tile: number, scratch: number): void {
  const { channels, layers } = weights;
  const x = values.subarray(scratch / 4, scratch / 4 + channels * TILE);
  x.set(values.subarray(tokens / 4, tokens / 4 + channels * TILE));
  rowsOf(weights).layers.forEach(({ variance }, number) => {
    const means = new Float64Array(TILE);
    const sums = new Float64Array(TILE);
    for (let at = 0; at < x.length; at++) means[at % TILE]! += x[at]! / channels;
    for (let channel = 0, at = 0; channel < channels; channel++) {
      const weight = values[layers[number]!.write.norm.weight / 4 + channel]!;
      for (let column = 0; column < TILE; column++, at++) {
        const centred = x[at]! - means[column]!;
        sums[column]! += centred * centred;
        x[at] = centred * weight;
      }
    }
    for (let column = 0; column < TILE; column++) values[tile / 4 + variance * TILE + column] = sums[column]! / channels;
  });
}

/** The numbers of the cells that a picture covers, in whole tiles; the last one again and again in the last tile. */
export function numberCells(memory: WebAssembly.Memory, picture: Picture, side: number): void {
  const [rows, columns] = picture.grid;
  const count = Math.ceil((rows * columns) / TILE) * TILE;
  const cells = new Uint32Array(memory.buffer, picture.cells, count);
  cells.forEach((_, index) => {
    const at = Math.min(index, rows * columns - 1);
    cells[index] = Math.floor(at / columns) * side + (at % columns);
  });
}

/** The code of a mask, 16 channels, and a row of ones: `to` (17 rows) for one tile of cells. */
export function encodeMask({ kernels, values, weights }: Run, logits: number, tile: number, to: number, scratch: number): void {
  const { first, firstBias, firstNorm, second, secondBias, secondNorm } = weights.maskCode;
  const side = weights.imageSize / 16;
  const EPS = 1e-6;
  for (let column = 0; column < TILE; column++) {
    const cell = tile * TILE + column;
    const from = logits / 4 + 16 * side * Math.floor(cell / side) + 4 * (cell % side);
    for (let pixel = 0; pixel < 16; pixel++) {
      values[scratch / 4 + pixel * TILE + column] = values[from + 4 * side * (pixel >> 2) + (pixel & 3)]!;
    }
  }
  const middle = scratch + 16 * ROW;
  spread(values, middle, firstBias, 16);
  kernels.product(middle, ROW, first, 64, scratch, 16, 16);
  for (let place = 0; place < 4; place++) kernels.normAndGelu(middle + 4 * place * ROW, 4, firstNorm.weight, firstNorm.bias, EPS);
  spread(values, to, secondBias, MASK_CHANNELS);
  kernels.product(to, ROW, second, 64, middle, MASK_CHANNELS, 16);
  kernels.normAndGelu(to, MASK_CHANNELS, secondNorm.weight, secondNorm.bias, EPS);
  values.fill(1, to / 4 + MASK_CHANNELS * TILE, to / 4 + MASK_ROWS * TILE);
}

/** Rows of one number each. */
function spread(values: Float32Array, to: number, numbers: number, rows: number): void {
  for (let row = 0; row < rows; row++) values.fill(values[numbers / 4 + row]!, to / 4 + row * TILE, to / 4 + (row + 1) * TILE);
}
