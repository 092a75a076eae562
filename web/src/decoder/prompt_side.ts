/**
 * What a prompt asks of a picture: the transformer of the mask decoder, without copying or projecting image tokens.
 *
 * The arithmetic is that of `opensam.export.decoder_graphs`: after each layer the image tokens of a prompt are
 *
 *     scale * (X + vectors^T rows) + constant
 *
 * with X the same for all prompts, one scale for each cell, and few rows: attention weights. Two things are cheaper
 * here. The weights of a head sum to one over its tokens, so the last token's row is left out: its vector is taken from
 * those of the others, and added up over the heads it is that of one constant row. And a mask is 17 rows before the
 * first layer, since the last step of its encoding is linear.
 */
import { cellsOf, encodeMask, rowsOf, type Picture, type Rows } from "./image_side";
import { ROW, TILE } from "./kernels";
import { padded, type Scratch } from "./scratch";
import type { Linear, Tiled } from "./store";
import { add, linear, type Run } from "./tokens";
import { MASK_ROWS, type Layer, type Read } from "./weights";

const NORM_EPS = 1e-5;

export class PromptSide {
  /** Rows so far; the first are a mask's if there is one. */
  count = 0;
  private masked = 0;
  /** Layers done; after the first there is a scale. */
  private level = 0;
  private readonly rows: Rows;
  private readonly tiles: number[];

  /** `tokens` of the prompt; `codes` of the positions of cells, projected. */
  constructor(
    private readonly run: Run,
    private readonly picture: Picture,
    private readonly codes: number,
    private readonly scratch: Scratch,
    private readonly tokens: number,
  ) {
    const { values, weights, team } = run;
    this.rows = rowsOf(weights);
    this.tiles = Array.from({ length: cellsOf(weights) / TILE }, (_, tile) => tile).filter((tile) => tile % team.size === team.number);
    for (const tile of this.tiles) values.fill(1, this.scaleOf(tile) / 4, this.scaleOf(tile) / 4 + TILE);
    values.fill(0, scratch.vectors / 4, scratch.vectors / 4 + scratch.room * weights.channels);
  }

  rowsOf(tile: number): number {
    return this.scratch.rows + tile * this.scratch.room * ROW;
  }

  scaleOf(tile: number): number {
    return this.scratch.scale + tile * ROW;
  }

  /** Begins with a mask: logits of the whole square. */
  addMask(logits: number): void {
    const { run, scratch } = this;
    const { channels, maskVectors } = run.weights;
    for (const tile of this.tiles) {
      encodeMask(run, logits, tile, this.rowsOf(tile), scratch.picked);
      this.clearAfter(tile, MASK_ROWS);
    }
    for (let part = 0; part < channels / TILE; part++) {
      run.kernels.copyRows(this.vectorsOf(part), maskVectors.at + part * MASK_ROWS * ROW, MASK_ROWS);
    }
    this.count = this.masked = MASK_ROWS;
  }

  /** `m` tokens, `x` (m x channels) with their code, attend to the image -> `to`, of the same size. */
  read(layer: Read, x: number, m: number, to: number): void {
    const { run, scratch, picture, level } = this;
    const { kernels, values, weights } = run;
    const { heads, depth } = weights;
    const at = this.rows.layers[level] ?? this.rows.final;
    const many = heads * m;
    const columns = padded(this.count);
    this.project(layer.queries, layer.imageKeys, x, m);
    for (const [place, count, value] of [
      [scratch.largest, many, -Infinity],
      [scratch.sums, 4 * many, 0],
      [scratch.valueLanes, 4 * many * depth, 0],
      [scratch.rowLanes, 4 * many * columns, 0],
    ] as const) {
      values.fill(value, place / 4, place / 4 + count);
    }
    this.tiles.forEach((tile, number) => {
      const scores = scratch.scores + number * many * ROW;
      this.score(scores, tile, at.keys, 2 * level, m);
      kernels.largest(scratch.largest, scores, many);
    });
    this.tiles.forEach((tile, number) => {
      const scores = scratch.scores + number * many * ROW;
      kernels.powers(scores, many, scratch.largest, scratch.sums);
      if (level) kernels.scaleColumns(scores, many, this.scaleOf(tile));
      const image = picture.tiles + tile * picture.stride + at.values * ROW;
      kernels.correlateOfHeads(scratch.valueLanes, scores, ROW, m * ROW, image, depth * ROW, heads, m, depth);
      if (columns) kernels.correlate(scratch.rowLanes, scores, ROW, this.rowsOf(tile), many, columns);
    });
    this.mergeReads(many, columns);
    this.combine(layer, m, columns);
    linear(run, layer.out, scratch.values, m, to);
  }

  /** The image attends to the tokens, `queries` (m x channels), and the sum is normed: a layer's rows more. */
  write({ write }: Layer, queries: number, tokens: number): void {
    const { run, scratch, level } = this;
    const { kernels, values, weights } = run;
    const { heads, channels } = weights;
    const m = this.tokens;
    add(values, scratch.sum, queries, tokens, m * channels);
    this.project(write.keys, write.imageQueries, scratch.sum, m);
    linear(run, write.values, queries, m, scratch.values);
    const before = this.count;
    const added = heads * (m - 1) + 1;
    this.addVectors(write.outs);
    this.centreVectors(before + added);
    this.relateVectors(before + added);
    const { queries: at, variance } = this.rows.layers[level]!;
    for (const tile of this.tiles) {
      const rows = this.rowsOf(tile);
      const scale = this.scaleOf(tile);
      this.score(scratch.scores, tile, at, 2 * level + 1, m);
      // The rows have no scale in them: what is added after the scale is divided by it.
      const constant = rows + (before + added - 1) * ROW;
      kernels.reciprocal(constant, scale);
      kernels.softmaxOfTokens(rows + before * ROW, scratch.scores, heads, m, constant);
      this.clearAfter(tile, before + added);
      this.multiplyVectors(tile, before + added);
      const image = this.picture.tiles + tile * this.picture.stride;
      kernels.rescale(scale, scratch.products, rows, before + added, image + variance * ROW, channels, NORM_EPS);
    }
    this.weighVectors(write.norm.weight, before + added);
    this.count = before + added;
    this.level++;
  }

  /** Rows after the last are multiplied with zeros, so they must be numbers. */
  private clearAfter(tile: number, count: number): void {
    this.run.kernels.clear(this.rowsOf(tile) + count * ROW, padded(count + 1) - count);
  }

  private vectorsOf(part: number): number {
    return this.scratch.vectors + part * this.scratch.room * ROW;
  }

  /** Tokens for an attention with the image, and what they make of the rows: `projected` and `matrix`. */
  private project(layer: Linear, image: Tiled, x: number, m: number): void {
    const { run, scratch } = this;
    const { kernels, values, weights } = run;
    const { heads, depth, width, channels } = weights;
    linear(run, layer, x, m, scratch.projected);
    const factor = depth ** -0.5;
    for (let index = scratch.projected / 4; index < scratch.projected / 4 + m * width; index++) values[index]! *= factor;
    if (!this.count) return;
    const many = heads * m;
    const columns = padded(this.count);
    kernels.clear(scratch.through, (many * channels) / TILE);
    values.fill(0, scratch.rowLanes / 4, scratch.rowLanes / 4 + 4 * many * columns);
    for (let part = 0; part < channels / TILE; part++) {
      const matrix = image.at + part * image.rows * ROW;
      const to = scratch.through + part * ROW;
      kernels.productOfHeads(to, 4 * channels, scratch.projected, 4 * width, 4 * depth, matrix, depth * ROW, heads, m, depth);
      kernels.correlate(scratch.rowLanes, scratch.through + part * ROW, 4 * channels, this.vectorsOf(part), many, columns);
    }
    kernels.sumLanes(scratch.matrix, scratch.rowLanes, many * columns);
  }

  /** Scores of the projected tokens and the cells of a tile, without what is the same for all cells. */
  private score(to: number, tile: number, row: number, code: number, m: number): void {
    const { run, scratch, picture } = this;
    const { kernels, weights } = run;
    const { heads, depth, width } = weights;
    const many = heads * m;
    const columns = padded(this.count);
    const addScores = (image: number): void =>
      kernels.productOfHeads(to, ROW, scratch.projected, 4 * width, 4 * depth, image, depth * ROW, heads, m, depth);
    kernels.clear(to, many);
    addScores(picture.tiles + tile * picture.stride + row * ROW);
    if (columns) kernels.product(to, ROW, scratch.matrix, 4 * columns, this.rowsOf(tile), many, columns);
    if (!this.level) return; // the first layer's rows of the picture have the code in them
    kernels.scaleColumns(to, many, this.scaleOf(tile));
    addScores(this.codes + tile * weights.code.rows * ROW + code * width * ROW);
  }

  /** Sums over all cells from those of each thread, which had a largest score of its own. */
  private mergeReads(many: number, columns: number): void {
    const { run, scratch, level } = this;
    const { kernels, values, team, weights } = run;
    const { depth } = weights;
    kernels.sumLanes(scratch.sums, scratch.sums, many);
    kernels.sumLanes(scratch.valueLanes, scratch.valueLanes, many * depth);
    kernels.sumLanes(scratch.rowLanes, scratch.rowLanes, many * columns);
    const size = many * (2 + depth + columns);
    const parts = scratch.reads / 4 + level * team.size * this.tokens * weights.heads * (2 + depth + scratch.room);
    let to = parts + team.number * size;
    for (const [place, count] of [
      [scratch.largest, many],
      [scratch.sums, many],
      [scratch.valueLanes, many * depth],
      [scratch.rowLanes, many * columns],
    ] as const) {
      values.copyWithin(to, place / 4, place / 4 + count);
      to += count;
    }
    team.meet();
    for (let row = 0; row < many; row++) {
      let most = -Infinity;
      for (let part = 0; part < team.size; part++) most = Math.max(most, values[parts + part * size + row]!);
      let total = 0;
      const shares = Array.from({ length: team.size }, (_, part) => {
        const share = Math.exp(values[parts + part * size + row]! - most);
        total += share * values[parts + part * size + many + row]!;
        return share;
      });
      const merge = (place: number, from: number, count: number): void => {
        for (let index = 0; index < count; index++) {
          let sum = 0;
          for (let part = 0; part < team.size; part++) sum += shares[part]! * values[parts + part * size + from + row * count + index]!;
          values[place / 4 + row * count + index] = sum / total;
        }
      };
      merge(scratch.valueLanes, 2 * many, depth);
      merge(scratch.matrix, (2 + depth) * many, columns);
    }
  }

  /** What tokens have read, from values of the picture and of the rows: `values` (m x width). */
  private combine(layer: Read, m: number, columns: number): void {
    const { run, scratch } = this;
    const { kernels, values, weights } = run;
    const { heads, depth, width, channels } = weights;
    const many = heads * m;
    values.fill(0, scratch.rowLanes / 4, scratch.rowLanes / 4 + 4 * many * depth);
    if (columns) {
      kernels.clear(scratch.through, (many * channels) / TILE);
      for (let part = 0; part < channels / TILE; part++) {
        kernels.product(scratch.through + part * ROW, 4 * channels, scratch.matrix, 4 * columns, this.vectorsOf(part), many, columns);
        const [from, matrix] = [scratch.through + part * ROW, layer.imageValues.at + part * width * ROW];
        kernels.correlateOfHeads(scratch.rowLanes, from, 4 * channels, m * 4 * channels, matrix, depth * ROW, heads, m, depth);
      }
      kernels.sumLanes(scratch.rowLanes, scratch.rowLanes, many * depth);
    }
    for (let row = 0; row < many; row++) {
      const [head, token] = [Math.floor(row / m), row % m];
      for (let index = 0; index < depth; index++) {
        const from = row * depth + index;
        const channel = head * depth + index;
        const read = values[scratch.valueLanes / 4 + from]! + (columns ? values[scratch.rowLanes / 4 + from]! : 0);
        values[scratch.values / 4 + token * width + channel] = read + values[layer.shift / 4 + channel]!;
      }
    }
  }

  /** The vectors of a layer, from `values` of its tokens; what they are made from is kept, twice, for the variances. */
  private addVectors(outs: Tiled): void {
    const { run, scratch } = this;
    const { kernels, values, weights } = run;
    const { heads, depth, width, channels } = weights;
    const m = this.tokens;
    const { tokens, constant } = scratch.sources[this.level]!;
    for (let head = 0; head < heads; head++) {
      const last = scratch.values / 4 + (m - 1) * width + head * depth;
      for (let index = 0; index < depth; index++) values[constant / 4 + head * (depth + 1) + index] = values[last + index]!;
      values[constant / 4 + head * (depth + 1) + depth] = 1;
      for (let token = 0; token < m - 1; token++) {
        const to = tokens / 4 + (head * (m - 1) + token) * depth;
        const from = scratch.values / 4 + token * width + head * depth;
        for (let index = 0; index < depth; index++) values[to + index] = values[from + index]! - values[last + index]!;
      }
    }
    const added = heads * (m - 1);
    for (let part = 0; part < channels / TILE; part++) {
      const to = this.vectorsOf(part) + this.count * ROW;
      const matrix = outs.at + part * outs.rows * ROW;
      kernels.clear(to, added + 1);
      const [a, ahead, bhead] = [4 * depth, 4 * depth * (m - 1), (depth + 1) * ROW];
      kernels.productOfHeads(to, ROW, tokens, a, ahead, matrix, bhead, heads, m - 1, depth);
      kernels.product(to + added * ROW, ROW, constant, 0, matrix, 1, outs.rows);
    }
    for (const [place, count] of [[tokens, added * depth], [constant, outs.rows]] as const) {
      for (let index = place / 4; index < place / 4 + count; index++) values[index]! *= 2;
    }
  }

  private centreVectors(count: number): void {
    const { values, weights } = this.run;
    const parts = weights.channels / TILE;
    for (let row = 0; row < count; row++) {
      let mean = 0;
      for (let part = 0; part < parts; part++) {
        const from = (this.vectorsOf(part) + row * ROW) / 4;
        for (let index = from; index < from + TILE; index++) mean += values[index]!;
      }
      mean /= weights.channels;
      for (let part = 0; part < parts; part++) {
        const from = (this.vectorsOf(part) + row * ROW) / 4;
        for (let index = from; index < from + TILE; index++) values[index]! -= mean;
      }
    }
  }

  private weighVectors(weight: number, count: number): void {
    const { values, weights } = this.run;
    for (let part = 0; part < weights.channels / TILE; part++) {
      for (let row = 0; row < count; row++) {
        const from = (this.vectorsOf(part) + row * ROW) / 4;
        for (let index = 0; index < TILE; index++) values[from + index]! *= values[weight / 4 + part * TILE + index]!;
      }
    }
  }

  /** Products of the vectors with each other, `gram`: four rows at a time, from their own columns on, those after them twice. */
  private relateVectors(count: number): void {
    const { run, scratch } = this;
    const { kernels, values, weights } = run;
    const columns = padded(count);
    for (let row = 0; row < count; row += 4) {
      const n = columns - row;
      values.fill(0, scratch.gramLanes / 4, scratch.gramLanes / 4 + 16 * n);
      for (let part = 0; part < weights.channels / TILE; part++) {
        const vectors = this.vectorsOf(part) + row * ROW;
        kernels.correlate(scratch.gramLanes, vectors, ROW, vectors, 4, n);
      }
      const to = scratch.gram + 4 * row * columns;
      kernels.sumLanes(to, scratch.gramLanes, 4 * n);
      for (let line = 0; line < 4; line++) {
        for (let index = to / 4 + line * n + 4; index < to / 4 + (line + 1) * n; index++) values[index]! *= 2;
      }
    }
  }

  /** `products` of a tile: those of the vectors with X, twice, and with what all of them make of the rows. */
  private multiplyVectors(tile: number, count: number): void {
    const { run, scratch, masked, level } = this;
    const { kernels, weights } = run;
    const { heads, depth } = weights;
    const m = this.tokens;
    const image = this.picture.tiles + tile * this.picture.stride;
    const { outs, mask } = this.rows.layers[level]!;
    const { products } = scratch;
    const columns = padded(count);
    kernels.clear(products, columns);
    if (masked) kernels.copyRows(products, image + mask * ROW, masked);
    outs.forEach((row, layer) => {
      const { tokens, constant } = scratch.sources[layer]!;
      const to = products + (masked + layer * (heads * (m - 1) + 1)) * ROW;
      const [a, ahead, bhead] = [4 * depth, 4 * depth * (m - 1), (depth + 1) * ROW];
      kernels.productOfHeads(to, ROW, tokens, a, ahead, image + row * ROW, bhead, heads, m - 1, depth);
      kernels.product(to + heads * (m - 1) * ROW, ROW, constant, 0, image + row * ROW, 1, heads * (depth + 1));
    });
    const rows = this.rowsOf(tile);
    for (let row = 0; row < count; row += 4) {
      const n = columns - row;
      kernels.product(products + row * ROW, ROW, scratch.gram + 4 * row * columns, 4 * n, rows + row * ROW, 4, n);
    }
  }
}
