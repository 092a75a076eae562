/** Four numbers at once. */

/** Bytes of a row of a tile. */
export const ROW: usize = 256;

/** a * b + c: rounded once where the engine has relaxed SIMD and the processor can, else twice. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** e to the power of x, off by 2e-7 of it; x is at most 88, and below -87 it counts as -87. */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  x = f32x4.pmax(f32x4.splat(-87), x);
  // Beside a number as large as this there is no room for a fraction: the whole part of x / ln 2 is in its last bits.
  const shift = f32x4.splat(12582912);
  const power = madd(x, f32x4.splat(1.44269504088896341), shift);
  const n = f32x4.sub(power, shift);
  // ln 2 in two parts, so that the rest keeps its digits; the polynomial is that of Cephes' expf.
  const r = madd(n, f32x4.splat(2.12194440e-4), madd(n, f32x4.splat(-0.693359375), x));
  let p = madd(f32x4.splat(1.9875691500e-4), r, f32x4.splat(1.3981999507e-3));
  p = madd(p, r, f32x4.splat(8.3334519073e-3));
  p = madd(p, r, f32x4.splat(4.1665795894e-2));
  p = madd(p, r, f32x4.splat(1.6666665459e-1));
  p = madd(p, r, f32x4.splat(5.0000001201e-1));
  p = madd(f32x4.mul(p, r), r, f32x4.add(r, f32x4.splat(1)));
  return i32x4.add(p, i32x4.shl(power, 23));
}

/** x times the share of the normal distribution below x, off by 1e-6 at most (Abramowitz and Stegun, 7.1.26). */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  const size = f32x4.abs(x);
  const one = f32x4.splat(1);
  const t = f32x4.div(one, madd(size, f32x4.splat(0.3275911 * 0.70710678118654752), one));
  // Halved: what is missing from the whole of x is x times half of the tail.
  let p = madd(f32x4.splat(1.061405429 / 2), t, f32x4.splat(-1.453152027 / 2));
  p = madd(p, t, f32x4.splat(1.421413741 / 2));
  p = madd(p, t, f32x4.splat(-0.284496736 / 2));
  p = madd(p, t, f32x4.splat(0.254829592 / 2));
  const tail = f32x4.mul(f32x4.mul(p, t), exp(f32x4.mul(f32x4.mul(x, x), f32x4.splat(-0.5))));
  return f32x4.sub(f32x4.pmax(f32x4.splat(0), x), f32x4.mul(size, tail));
}
