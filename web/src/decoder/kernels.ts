/** The kernels of `web/kernels`, which are small and many calls; addresses are bytes in the shared memory. */
import plainUrl from "../../build/kernels.wasm?url";
import relaxedUrl from "../../build/kernels_relaxed.wasm?url";

/** Cells of a tile, and bytes of one of its rows. */
export const TILE = 64;
export const ROW = 4 * TILE;

export interface Kernels {
  product(c: number, cs: number, a: number, as: number, b: number, m: number, k: number): void;
  correlate(lanes: number, a: number, as: number, b: number, m: number, n: number): void;
  productOfHeads(
    c: number,
    cs: number,
    a: number,
    as: number,
    ahead: number,
    b: number,
    bhead: number,
    heads: number,
    m: number,
    k: number,
  ): void;
  correlateOfHeads(
    lanes: number,
    a: number,
    as: number,
    ahead: number,
    b: number,
    bhead: number,
    heads: number,
    m: number,
    n: number,
  ): void;
  sumLanes(to: number, lanes: number, count: number): void;
  scaleColumns(x: number, m: number, s: number): void;
  reciprocal(to: number, x: number): void;
  largest(to: number, x: number, m: number): void;
  powers(x: number, m: number, most: number, sums: number): void;
  softmaxOfTokens(to: number, x: number, heads: number, tokens: number, factor: number): void;
  rescale(scale: number, products: number, rows: number, m: number, variance: number, channels: number, eps: number): void;
  normAndGelu(x: number, m: number, weight: number, bias: number, eps: number): void;
  biasAndGelu(x: number, m: number, bias: number): void;
  clear(x: number, m: number): void;
  copyRows(to: number, x: number, m: number): void;
  pick(to: number, tiles: number, stride: number, m: number, cells: number): void;
}

/** The kernels for this browser: with fused multiplications where it has them. */
export async function compiled(): Promise<WebAssembly.Module> {
  for (const url of [relaxedUrl, plainUrl]) {
    const answer = await fetch(new URL(url, location.href));
    if (!answer.ok) throw new Error(`The decoder could not be loaded (status ${answer.status}).`);
    const code = await answer.arrayBuffer();
    if (WebAssembly.validate(code)) return WebAssembly.compile(code);
  }
  throw new Error("This browser has no SIMD in WebAssembly.");
}

export function linked(module: WebAssembly.Module, memory: WebAssembly.Memory): Kernels {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  return exports as unknown as Kernels;
}
