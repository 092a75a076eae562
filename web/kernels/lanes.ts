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

/**
 * x times the share of the normal distribution below x, off by 3e-6 at most. The share less a half is an odd function; up
 * to 5 it is this quotient, fitted so that the largest error of the product is least, and beyond 5 it stays as it is.
 */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  const inside = f32x4.pmax(f32x4.splat(-5), f32x4.pmin(f32x4.splat(5), x));
  const z = f32x4.mul(inside, inside);
  let p = madd(f32x4.splat(6.253641985687698e-5), z, f32x4.splat(0.004320434237067095));
  p = madd(p, z, f32x4.splat(0.029378987259288267));
  p = madd(p, z, f32x4.splat(0.39896614628485616));
  let q = madd(f32x4.splat(3.8169322136973145e-6), z, f32x4.splat(0.0015058467205833672));
  q = madd(q, z, f32x4.splat(0.025722049017441958));
  q = madd(q, z, f32x4.splat(0.240491846470061));
  q = madd(q, z, f32x4.splat(1));
  return f32x4.mul(x, f32x4.add(f32x4.div(f32x4.mul(p, inside), q), f32x4.splat(0.5)));
}
