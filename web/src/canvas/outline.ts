/** Fill and outline of a sampled mask, row by row as runs: whole pieces of a row are filled at once. */

export interface Colours {
  fill: number;
  edge: number;
  /** Around the outline; 0: none. */
  halo: number;
}

/** Pixels that are set one by one faster than by a call. */
const SHORT = 24;

/** Where runs of a row begin and end, in turn. */
type Runs = number[];

/**
 * Colours the pixels of a mask. A pixel of the mask with a pixel outside it at most `rim` to a side is outline; a pixel
 * outside it with one of the mask as near is halo.
 *
 * @param pixels width x height, all 0
 * @param inside 1 where the mask is; as large, with a rim on all sides
 */
export function colour(
  pixels: Uint32Array,
  inside: Uint8Array,
  width: number,
  height: number,
  rim: number,
  { fill, edge, halo }: Colours,
): void {
  const stride = width + 2 * rim;
  const rows = Array.from({ length: height + 2 * rim }, (_, row) => runsOf(inside, row * stride, stride));
  const steps = Array.from({ length: rim }, (_, step) => [step + 1, -step - 1]).flat();
  for (let y = 0; y < height; y++) {
    const put = (runs: Runs, value: number, more = 0): void => {
      for (let at = 0; at < runs.length; at += 2) {
        const from = Math.max(0, runs[at]! - more - rim);
        const to = Math.min(width, runs[at + 1]! + more - rim);
        if (to - from > SHORT) pixels.fill(value, y * width + from, y * width + to);
        else for (let pixel = y * width + from; pixel < y * width + to; pixel++) pixels[pixel] = value;
      }
    };
    const own = rows[y + rim]!;
    const near = steps.map((step) => rows[y + rim + step]!);
    if (halo) {
      put(own, halo, rim);
      for (const runs of near) put(runs, halo);
    }
    put(own, edge);
    put(near.reduce(common, shrunk(own, rim)), fill);
  }
}

function runsOf(inside: Uint8Array, start: number, length: number): Runs {
  const runs: Runs = [];
  let before = 0;
  for (let at = 0; at < length; at++) {
    const own = inside[start + at]!;
    if (own === before) continue;
    runs.push(at);
    before = own;
  }
  if (before) runs.push(length);
  return runs;
}

function shrunk(runs: Runs, by: number): Runs {
  return runs.map((place, at) => (at % 2 ? place - by : place + by));
}

/** What two rows have in common; runs that end before they begin have nothing. */
function common(one: Runs, other: Runs): Runs {
  const both: Runs = [];
  for (let i = 0, j = 0; i < one.length && j < other.length; ) {
    const from = Math.max(one[i]!, other[j]!);
    const to = Math.min(one[i + 1]!, other[j + 1]!);
    if (from < to) both.push(from, to);
    if (one[i + 1]! < other[j + 1]!) i += 2;
    else j += 2;
  }
  return both;
}
