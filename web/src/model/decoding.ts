/** Arithmetic around the decoder: prompts to its inputs, masks to the whole square and back. */
import { MASK_STRIDE, EMBEDDING_STRIDE, type Resize } from "./resize";
import type { LowRes, Prompt } from "./segmenter";

const TOP_LEFT = 2;
const BOTTOM_RIGHT = 3;
const NOT_A_POINT = -1;
const CELL = EMBEDDING_STRIDE / MASK_STRIDE;

/** A prompt as points of the input frame; without a box the official model expects a padding point. */
export function pointsOf({ points, box }: Prompt, resize: Resize): { coords: Float32Array; labels: Float32Array } {
  const corners = box ? [...box] : [];
  const coords = resize.applyCoords([...points.flatMap(({ x, y }) => [x, y]), ...corners]);
  const labels = [...points.map(({ label }) => label), ...(box ? [TOP_LEFT, BOTTOM_RIGHT] : [NOT_A_POINT])];
  return { coords: Float32Array.from(box ? coords : [...coords, 0, 0]), labels: Float32Array.from(labels) };
}

/** Whether a prompt may mean several things, as `Predictor` decides it: a single point or a single box. */
export function isAmbiguous({ points, box, maskInput }: Prompt): boolean {
  return !maskInput && points.length + (box ? 1 : 0) === 1;
}

/** How little a mask changes with its threshold: the IoU of the masks at logits of +1 and -1, as `masks.stability_score`. */
export function stabilityScore(logits: Float32Array): number {
  let inner = 0;
  let outer = 0;
  for (const logit of logits) {
    if (logit > -1) outer++;
    if (logit > 1) inner++;
  }
  return inner / Math.max(1, outer);
}

/** Logits over the whole square of `side` cells; where there is no picture, as sure as the mask is anywhere of "not". */
export function overSquare({ data, rows, columns }: LowRes, side: number): Float32Array {
  let lowest = Infinity;
  for (const logit of data) lowest = Math.min(lowest, logit);
  const width = CELL * side;
  const square = new Float32Array(width * width).fill(lowest);
  for (let row = 0; row < rows; row++) square.set(data.subarray(row * columns, (row + 1) * columns), row * width);
  return square;
}

/** The top left part of a mask of the whole square. */
export function cropped(square: Float32Array, width: number, [rows, columns]: [number, number]): LowRes {
  const data = new Float32Array(CELL * CELL * rows * columns);
  for (let row = 0; row < CELL * rows; row++) {
    data.set(square.subarray(row * width, row * width + CELL * columns), row * CELL * columns);
  }
  return { data, rows: CELL * rows, columns: CELL * columns };
}

/** IEEE half precision, which not every browser knows. */
export function fromFloat16(halves: Uint16Array): Float32Array {
  return Float32Array.from(halves, (bits) => {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    const sign = bits & 0x8000 ? -1 : 1;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 25) * (1024 + fraction) : 2 ** -24 * fraction);
  });
}

/** To half precision, rounded to nearest; beyond its range the largest number. */
export function toFloat16(values: Float32Array): Uint16Array {
  return Uint16Array.from(values, (value) => {
    const sign = value < 0 ? 0x8000 : 0;
    const size = Math.min(Math.abs(value), 65504);
    const exponent = Math.max(-14, Math.floor(Math.log2(size || 1e-9)));
    const fraction = Math.round(size / 2 ** (exponent - 10));
    // A fraction rounded up to the next power of two carries into the exponent by itself.
    return sign | (fraction < 1024 ? fraction : ((exponent + 14) << 10) + fraction);
  });
}

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let from = 0; from < bytes.length; from += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(from, from + 0x8000));
  }
  return btoa(text);
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}
