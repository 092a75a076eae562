/** What tokens do without the image: matrices of some tokens, row by row; small, so every thread does most of it all. */
import { ROW, TILE, type Kernels } from "./kernels";
import type { Linear, Norm } from "./store";
import type { Team } from "./team";
import type { Layer, Weights } from "./weights";

const NORM_EPS = 1e-5;
const NOT_A_POINT = -1;

/** What every step works with. `values` are all of the memory, so the number at an address is `values[address / 4]`. */
export interface Run {
  kernels: Kernels;
  values: Float32Array;
  team: Team;
  weights: Weights;
}

/** to (m x width) = x (m x inputs) weight^T + bias; the width is a multiple of 64. */
export function linear({ kernels, values }: Run, layer: Linear, x: number, m: number, to: number): void {
  const { inputs, weight, bias } = layer;
  const width = widthOf(layer);
  for (let row = 0; row < m; row++) values.copyWithin(to / 4 + row * width, bias / 4, bias / 4 + width);
  for (let tile = 0; tile < width / TILE; tile++) {
    kernels.product(to + tile * ROW, 4 * width, x, 4 * inputs, weight + tile * inputs * ROW, m, inputs);
  }
}

export function widthOf({ outputs }: Linear): number {
  return Math.ceil(outputs / TILE) * TILE;
}

/** Three linear layers with ReLU between them, of one row; returns where the result lies. */
export function network(run: Run, layers: readonly Linear[], x: number, scratch: number): number {
  let to = scratch;
  layers.forEach((layer, number) => {
    linear(run, layer, x, 1, to);
    if (number < layers.length - 1) relu(run.values, to, widthOf(layer));
    x = to;
    to += 4 * widthOf(layer);
  });
  return x;
}

export function relu(values: Float32Array, at: number, count: number): void {
  for (let index = at / 4; index < at / 4 + count; index++) if (values[index]! < 0) values[index] = 0;
}

/** to = one + other. */
export function add(values: Float32Array, to: number, one: number, other: number, count: number): void {
  for (let index = 0; index < count; index++) values[to / 4 + index] = values[one / 4 + index]! + values[other / 4 + index]!;
}

/** Layer norm of each row, in place. */
export function normRows({ values }: Run, { weight, bias }: Norm, x: number, m: number, channels: number): void {
  for (let from = x / 4; from < x / 4 + m * channels; from += channels) {
    let mean = 0;
    for (let index = from; index < from + channels; index++) mean += values[index]!;
    mean /= channels;
    let variance = 0;
    for (let index = from; index < from + channels; index++) variance += (values[index]! - mean) ** 2;
    const factor = 1 / Math.sqrt(variance / channels + NORM_EPS);
    for (let index = 0; index < channels; index++) {
      values[from + index] = (values[from + index]! - mean) * factor * values[weight / 4 + index]! + values[bias / 4 + index]!;
    }
  }
}

/**
 * The tokens of a prompt: those of the outputs, then its points.
 *
 * @param coords x and y in turn, in the input frame
 * @param labels 1, 0, 2 and 3 for the corners of a box, -1 for the padding point
 */
export function embed({ values, weights }: Run, coords: Float32Array, labels: Float32Array, to: number): void {
  const { channels, outputTokens, masks, imageSize, points } = weights;
  values.copyWithin(to / 4, outputTokens / 4, outputTokens / 4 + (1 + masks) * channels);
  labels.forEach((label, number) => {
    const at = to / 4 + (1 + masks + number) * channels;
    if (label === NOT_A_POINT) {
      values.copyWithin(at, points.none / 4, points.none / 4 + channels);
      return;
    }
    const place = [coords[2 * number]!, coords[2 * number + 1]!].map((pixel) => (pixel + 0.5) / imageSize) as [number, number];
    const kind = points.kinds[label]! / 4;
    positionOf(values, weights, place, (channel, code) => (values[at + channel] = code + values[kind + channel]!));
  });
}

/** The position code of a place, x and y from 0 to 1: random Fourier features. */
export function positionOf(
  values: Float32Array,
  { channels, points }: Weights,
  [x, y]: [number, number],
  set: (channel: number, code: number) => void,
): void {
  const half = channels / 2;
  const frequencies = points.frequencies / 4;
  for (let channel = 0; channel < half; channel++) {
    const angle = 2 * Math.PI * ((2 * x - 1) * values[frequencies + channel]! + (2 * y - 1) * values[frequencies + half + channel]!);
    set(channel, Math.sin(angle));
    set(channel + half, Math.cos(angle));
  }
}

/** Tokens among themselves: `queries` after attention and norm. In the first layer nothing is added to what was there. */
export function attendToTokens(run: Run, layer: Layer, first: boolean, queries: number, tokens: number, m: number, scratch: number): void {
  const { values, weights } = run;
  const { channels, heads } = weights;
  const size = m * channels;
  const [sum, q, k, v, read] = [0, 1, 2, 3, 4].map((part) => scratch + 4 * part * size) as [number, number, number, number, number];
  if (first) values.copyWithin(sum / 4, queries / 4, queries / 4 + size);
  else add(values, sum, queries, tokens, size);
  linear(run, layer.attention.queries, sum, m, q);
  linear(run, layer.attention.keys, sum, m, k);
  linear(run, layer.attention.values, queries, m, v);
  attention(values, heads, channels, m, q, k, v, read);
  linear(run, layer.attention.out, read, m, sum);
  if (first) values.copyWithin(queries / 4, sum / 4, sum / 4 + size);
  else add(values, queries, queries, sum, size);
  normRows(run, layer.norms[0], queries, m, channels);
}

function attention(
  values: Float32Array,
  heads: number,
  channels: number,
  m: number,
  q: number,
  k: number,
  v: number,
  to: number,
): void {
  const depth = channels / heads;
  const factor = depth ** -0.5;
  const weights = new Float32Array(m);
  values.fill(0, to / 4, to / 4 + m * channels);
  for (let head = 0; head < channels; head += depth) {
    for (let token = 0; token < m; token++) {
      const from = q / 4 + token * channels + head;
      let most = -Infinity;
      for (let other = 0; other < m; other++) {
        let score = 0;
        for (let index = 0; index < depth; index++) score += values[from + index]! * values[k / 4 + other * channels + head + index]!;
        weights[other] = score * factor;
        most = Math.max(most, weights[other]!);
      }
      let sum = 0;
      for (let other = 0; other < m; other++) sum += weights[other] = Math.exp(weights[other]! - most);
      const at = to / 4 + token * channels + head;
      for (let other = 0; other < m; other++) {
        const weight = weights[other]! / sum;
        for (let index = 0; index < depth; index++) values[at + index]! += weight * values[v / 4 + other * channels + head + index]!;
      }
    }
  }
}

/** `queries` plus a network of two layers, and a norm. Each thread has its share of the hidden channels. */
export function feedForward(run: Run, layer: Layer, queries: number, m: number, hidden: number, partial: number): void {
  const { kernels, values, team, weights } = run;
  const { channels } = weights;
  const [first, second] = layer.mlp;
  const own = partial + 4 * team.number * m * channels;
  values.fill(0, own / 4, own / 4 + m * channels);
  for (let tile = team.number; tile < first.outputs / TILE; tile += team.size) {
    const bias = first.bias / 4 + tile * TILE;
    for (let row = 0; row < m; row++) values.copyWithin(hidden / 4 + row * TILE, bias, bias + TILE);
    kernels.product(hidden, ROW, queries, 4 * channels, first.weight + tile * channels * ROW, m, channels);
    relu(values, hidden, m * TILE);
    for (let to = 0; to < channels / TILE; to++) {
      const weight = second.weight + (to * second.inputs + tile * TILE) * ROW;
      kernels.product(own + to * ROW, 4 * channels, hidden, ROW, weight, m, TILE);
    }
  }
  team.meet();
  for (let part = 0; part < team.size; part++) add(values, queries, queries, partial + 4 * part * m * channels, m * channels);
  for (let row = 0; row < m; row++) add(values, queries + 4 * row * channels, queries + 4 * row * channels, second.bias, channels);
  normRows(run, layer.norms[2], queries, m, channels);
}
