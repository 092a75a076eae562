/** Products of matrices, the columns of a tile at a time. `k` is a multiple of four everywhere. */
import { rows3, rows4, rows6, rows7 } from "../build/rows";
import { ROW, madd } from "./lanes";

/** C (m x 64, rows `cs` bytes apart) += A (m x k, rows `as_` bytes apart) B, where B is a tile of k rows. */
export function product(c: usize, cs: usize, a: usize, as_: usize, b: usize, m: i32, k: i32): void {
  while (m > 0) {
    let rows: i32;
    if (m === 7 || m > 12) {
      rows = 7;
      rows7(c, cs, a, as_, b, k);
    } else if (m > 8 || m === 6) {
      rows = 6;
      rows6(c, cs, a, as_, b, k);
    } else if (m > 3) {
      rows = 4;
      rows4(c, cs, a, as_, b, k);
    } else if (m === 3) {
      rows = 3;
      rows3(c, cs, a, as_, b, k);
    } else {
      rows = 1;
      one(c, a, b, k);
    }
    m -= rows;
    c += <usize>rows * cs;
    a += <usize>rows * as_;
  }
}

/** A product for each head: m rows of C after those of the head before, A and B so many bytes further. */
export function productOfHeads(
  c: usize,
  cs: usize,
  a: usize,
  as_: usize,
  ahead: usize,
  b: usize,
  bhead: usize,
  heads: i32,
  m: i32,
  k: i32,
): void {
  for (; heads > 0; heads--, c += <usize>m * cs, a += ahead, b += bhead) product(c, cs, a, as_, b, m, k);
}

/** One row of C, 32 columns at a time. */
function one(c: usize, a: usize, b: usize, k: i32): void {
  for (let column: usize = 0; column < ROW; column += 128) {
    const to = c + column;
    let at = b + column;
    let from = a;
    let x0 = v128.load(to);
    let x1 = v128.load(to, 16);
    let x2 = v128.load(to, 32);
    let x3 = v128.load(to, 48);
    let x4 = v128.load(to, 64);
    let x5 = v128.load(to, 80);
    let x6 = v128.load(to, 96);
    let x7 = v128.load(to, 112);
    for (let left = k; left > 0; left--) {
      const s = v128.load32_splat(from);
      x0 = madd(s, v128.load(at), x0);
      x1 = madd(s, v128.load(at, 16), x1);
      x2 = madd(s, v128.load(at, 32), x2);
      x3 = madd(s, v128.load(at, 48), x3);
      x4 = madd(s, v128.load(at, 64), x4);
      x5 = madd(s, v128.load(at, 80), x5);
      x6 = madd(s, v128.load(at, 96), x6);
      x7 = madd(s, v128.load(at, 112), x7);
      at += ROW;
      from += 4;
    }
    v128.store(to, x0);
    v128.store(to, x1, 16);
    v128.store(to, x2, 32);
    v128.store(to, x3, 48);
    v128.store(to, x4, 64);
    v128.store(to, x5, 80);
    v128.store(to, x6, 96);
    v128.store(to, x7, 112);
  }
}

/**
 * Sums over the columns of a tile: lanes (m x n vectors of four partial sums) += A (m x 64, rows `as_` bytes apart) times
 * B (tile of n rows) transposed; n is even. `sumLanes` makes numbers of them once all tiles are in.
 */
export function correlate(lanes: usize, a: usize, as_: usize, b: usize, m: i32, n: i32): void {
  const ls = <usize>n * 16;
  for (; m >= 4; m -= 4) {
    for (let j = 0; j < n; j += 2) correlateFour(lanes + <usize>j * 16, ls, a, as_, b + <usize>j * ROW);
    lanes += 4 * ls;
    a += 4 * as_;
  }
  for (; m > 0; m--) {
    for (let j = 0; j < n; j += 2) correlateOne(lanes + <usize>j * 16, a, b + <usize>j * ROW);
    lanes += ls;
    a += as_;
  }
}

/** The same for each head: lanes (heads x m x n), A and B so many bytes further. */
export function correlateOfHeads(
  lanes: usize,
  a: usize,
  as_: usize,
  ahead: usize,
  b: usize,
  bhead: usize,
  heads: i32,
  m: i32,
  n: i32,
): void {
  for (; heads > 0; heads--, lanes += <usize>(m * n) << 4, a += ahead, b += bhead) correlate(lanes, a, as_, b, m, n);
}

function correlateFour(lanes: usize, ls: usize, a: usize, as_: usize, b: usize): void {
  const l1 = lanes + ls;
  const l2 = l1 + ls;
  const l3 = l2 + ls;
  let a0 = a;
  let a1 = a0 + as_;
  let a2 = a1 + as_;
  let a3 = a2 + as_;
  let x0 = v128.load(lanes);
  let y0 = v128.load(lanes, 16);
  let x1 = v128.load(l1);
  let y1 = v128.load(l1, 16);
  let x2 = v128.load(l2);
  let y2 = v128.load(l2, 16);
  let x3 = v128.load(l3);
  let y3 = v128.load(l3, 16);
  for (let column: usize = 0; column < ROW; column += 64) {
    let p = v128.load(b);
    let q = v128.load(b, 256);
    let s = v128.load(a0);
    x0 = madd(s, p, x0);
    y0 = madd(s, q, y0);
    s = v128.load(a1);
    x1 = madd(s, p, x1);
    y1 = madd(s, q, y1);
    s = v128.load(a2);
    x2 = madd(s, p, x2);
    y2 = madd(s, q, y2);
    s = v128.load(a3);
    x3 = madd(s, p, x3);
    y3 = madd(s, q, y3);
    p = v128.load(b, 16);
    q = v128.load(b, 272);
    s = v128.load(a0, 16);
    x0 = madd(s, p, x0);
    y0 = madd(s, q, y0);
    s = v128.load(a1, 16);
    x1 = madd(s, p, x1);
    y1 = madd(s, q, y1);
    s = v128.load(a2, 16);
    x2 = madd(s, p, x2);
    y2 = madd(s, q, y2);
    s = v128.load(a3, 16);
    x3 = madd(s, p, x3);
    y3 = madd(s, q, y3);
    p = v128.load(b, 32);
    q = v128.load(b, 288);
    s = v128.load(a0, 32);
    x0 = madd(s, p, x0);
    y0 = madd(s, q, y0);
    s = v128.load(a1, 32);
    x1 = madd(s, p, x1);
    y1 = madd(s, q, y1);
    s = v128.load(a2, 32);
    x2 = madd(s, p, x2);
    y2 = madd(s, q, y2);
    s = v128.load(a3, 32);
    x3 = madd(s, p, x3);
    y3 = madd(s, q, y3);
    p = v128.load(b, 48);
    q = v128.load(b, 304);
    s = v128.load(a0, 48);
    x0 = madd(s, p, x0);
    y0 = madd(s, q, y0);
    s = v128.load(a1, 48);
    x1 = madd(s, p, x1);
    y1 = madd(s, q, y1);
    s = v128.load(a2, 48);
    x2 = madd(s, p, x2);
    y2 = madd(s, q, y2);
    s = v128.load(a3, 48);
    x3 = madd(s, p, x3);
    y3 = madd(s, q, y3);
    b += 64;
    a0 += 64;
    a1 += 64;
    a2 += 64;
    a3 += 64;
  }
  v128.store(lanes, x0);
  v128.store(lanes, y0, 16);
  v128.store(l1, x1);
  v128.store(l1, y1, 16);
  v128.store(l2, x2);
  v128.store(l2, y2, 16);
  v128.store(l3, x3);
  v128.store(l3, y3, 16);
}

function correlateOne(lanes: usize, a: usize, b: usize): void {
  let x = v128.load(lanes);
  let y = v128.load(lanes, 16);
  for (let column: usize = 0; column < ROW; column += 16) {
    const s = v128.load(a + column);
    x = madd(s, v128.load(b + column), x);
    y = madd(s, v128.load(b + column, 256), y);
  }
  v128.store(lanes, x);
  v128.store(lanes, y, 16);
}

/** Numbers of four lanes each, `count` of them; `to` may be `lanes`. */
export function sumLanes(to: usize, lanes: usize, count: i32): void {
  for (; count > 0; count--, to += 4, lanes += 16) {
    const x = v128.load(lanes);
    f32.store(
      to,
      f32x4.extract_lane(x, 0) + f32x4.extract_lane(x, 1) + (f32x4.extract_lane(x, 2) + f32x4.extract_lane(x, 3)),
    );
  }
}
