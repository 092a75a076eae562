/** What happens to tiles between products. Rows are those of a tile unless said otherwise. */
import { ROW, exp, gelu, madd } from "./lanes";

/** x (m rows) *= s (one row). */
export function scaleColumns(x: usize, m: i32, s: usize): void {
  for (let column: usize = 0; column < ROW; column += 16) {
    const factor = v128.load(s + column);
    for (let row = 0, at = x + column; row < m; row++, at += ROW) v128.store(at, f32x4.mul(v128.load(at), factor));
  }
}

/** to (one row) = 1 / x. */
export function reciprocal(to: usize, x: usize): void {
  for (let column: usize = 0; column < ROW; column += 16) {
    v128.store(to + column, f32x4.div(f32x4.splat(1), v128.load(x + column)));
  }
}

/** to (m numbers) = the larger of itself and the largest value of each row. */
export function largest(to: usize, x: usize, m: i32): void {
  for (let row = 0; row < m; row++, x += ROW, to += 4) {
    let most = v128.load(x);
    for (let column: usize = 16; column < ROW; column += 16) most = f32x4.pmax(most, v128.load(x + column));
    const one: f32 = max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
    const two: f32 = max(f32x4.extract_lane(most, 2), f32x4.extract_lane(most, 3));
    f32.store(to, max(f32.load(to), max(one, two)));
  }
}

/** x (m rows) = exp(x - the number of its row in `most`); their sums, four lanes each, are added to `sums`. */
export function powers(x: usize, m: i32, most: usize, sums: usize): void {
  for (let row = 0; row < m; row++, x += ROW, most += 4, sums += 16) {
    const above = v128.load32_splat(most);
    let sum = v128.load(sums);
    for (let column: usize = 0; column < ROW; column += 16) {
      const power = exp(f32x4.sub(v128.load(x + column), above));
      v128.store(x + column, power);
      sum = f32x4.add(sum, power);
    }
    v128.store(sums, sum);
  }
}

/**
 * Softmax over the `tokens` rows of each head, column by column, times the row `factor`; the last token of each head is
 * left out of `to`, because all of them sum to one.
 */
export function softmaxOfTokens(to: usize, x: usize, heads: i32, tokens: i32, factor: usize): void {
  for (let head = 0; head < heads; head++) {
    for (let column: usize = 0; column < ROW; column += 16) {
      const from = x + column;
      let most = v128.load(from);
      for (let token = 1; token < tokens; token++) most = f32x4.pmax(most, v128.load(from + <usize>token * ROW));
      let sum = f32x4.splat(0);
      let at = to + column;
      for (let token = 0; token < tokens; token++, at += ROW) {
        const power = exp(f32x4.sub(v128.load(from + <usize>token * ROW), most));
        sum = f32x4.add(sum, power);
        if (token < tokens - 1) v128.store(at, power);
      }
      const share = f32x4.div(v128.load(factor + column), sum);
      at = to + column;
      for (let token = 1; token < tokens; token++, at += ROW) v128.store(at, f32x4.mul(v128.load(at), share));
    }
    x += <usize>tokens * ROW;
    to += <usize>(tokens - 1) * ROW;
  }
}

/**
 * scale (one row) = scale / sqrt(variance + eps) of scale * (X + vectors^T rows), over `channels` channels.
 *
 * @param products m rows: the products of each vector with X, twice, and with what all vectors make of the rows
 * @param variance of X, one row
 */
export function rescale(scale: usize, products: usize, rows: usize, m: i32, variance: usize, channels: f32, eps: f32): void {
  const share = f32x4.splat(1 / channels);
  for (let column: usize = 0; column < ROW; column += 16) {
    let sum = f32x4.splat(0);
    let one = products + column;
    let other = rows + column;
    for (let row = 0; row < m; row++, one += ROW, other += ROW) sum = madd(v128.load(one), v128.load(other), sum);
    const before = v128.load(scale + column);
    let now = f32x4.mul(f32x4.mul(before, before), madd(sum, share, v128.load(variance + column)));
    now = f32x4.add(f32x4.max(now, f32x4.splat(0)), f32x4.splat(eps));
    v128.store(scale + column, f32x4.div(before, f32x4.sqrt(now)));
  }
}

/** x (m rows of mean zero) = gelu(weight * x / its deviation + bias), weight and bias one number for each row. */
export function normAndGelu(x: usize, m: i32, weight: usize, bias: usize, eps: f32): void {
  const share = f32x4.splat(<f32>1 / <f32>m);
  for (let column: usize = 0; column < ROW; column += 16) {
    let sum = f32x4.splat(0);
    for (let row = 0, at = x + column; row < m; row++, at += ROW) sum = madd(v128.load(at), v128.load(at), sum);
    const factor = f32x4.div(f32x4.splat(1), f32x4.sqrt(madd(sum, share, f32x4.splat(eps))));
    for (let row = 0, at = x + column; row < m; row++, at += ROW) {
      const normed = f32x4.mul(v128.load(at), factor);
      const place = <usize>row << 2;
      v128.store(at, gelu(madd(normed, v128.load32_splat(weight + place), v128.load32_splat(bias + place))));
    }
  }
}

/** x (m rows) = gelu(x + bias), one number for each row. */
export function biasAndGelu(x: usize, m: i32, bias: usize): void {
  for (let row = 0; row < m; row++, bias += 4) {
    const shift = v128.load32_splat(bias);
    for (let column: usize = 0; column < ROW; column += 16, x += 16) {
      v128.store(x, gelu(f32x4.add(v128.load(x), shift)));
    }
  }
}

/** x (m rows) = 0. */
export function clear(x: usize, m: i32): void {
  memory.fill(x, 0, <usize>m * ROW);
}

/** to = x, m rows. */
export function copyRows(to: usize, x: usize, m: i32): void {
  memory.copy(to, x, <usize>m * ROW);
}

/**
 * A tile of cells from anywhere: to (m rows) = the columns `cells` (64 numbers, i32) of tiles that lie `stride` bytes apart.
 */
export function pick(to: usize, tiles: usize, stride: usize, m: i32, cells: usize): void {
  for (let column: usize = 0; column < ROW; column += 4) {
    const cell = load<u32>(cells + column);
    let from = tiles + <usize>(cell >> 6) * stride + (<usize>(cell & 63) << 2);
    for (let row = 0, at = to + column; row < m; row++, at += ROW, from += ROW) f32.store(at, f32.load(from));
  }
}
