/**
 * Masks as pixels, for the moments in which they change: a stroke, a polygon, a union, a clean-up.
 *
 * Functions that change a mask do so in place and give the box they touched, so that a picture of 24 megapixels
 * costs what the touched part costs. At rest a mask is `Runs` (rle.ts).
 */
import { forEachSpan, type Box, type Runs } from "./rle";

export { upscaleLogits } from "./upscale";

/** Row by row, 1 inside and 0 outside. */
export interface BitMask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

export interface Position {
  x: number;
  y: number;
}

export function emptyMask(width: number, height: number): BitMask {
  return { width, height, data: new Uint8Array(width * height) };
}

export const NOTHING: Box = [0, 0, 0, 0];

export function isEmpty(box: Box): boolean {
  return box[0] >= box[2] || box[1] >= box[3];
}

/** The smallest box around both; a box without pixels counts for nothing. */
export function around(box: Box, other: Box): Box {
  if (isEmpty(box)) return other;
  if (isEmpty(other)) return box;
  return [
    Math.min(box[0], other[0]),
    Math.min(box[1], other[1]),
    Math.max(box[2], other[2]),
    Math.max(box[3], other[3]),
  ];
}

/** The part of a box inside a picture, its corners on pixel borders. */
export function clipped(box: Box, width: number, height: number): Box {
  const inside: Box = [
    Math.max(0, Math.floor(box[0])),
    Math.max(0, Math.floor(box[1])),
    Math.min(width, Math.ceil(box[2])),
    Math.min(height, Math.ceil(box[3])),
  ];
  return isEmpty(inside) ? NOTHING : inside;
}

export function wholeBox(mask: BitMask): Box {
  return [0, 0, mask.width, mask.height];
}

export function maskArea(mask: BitMask, within: Box = wholeBox(mask)): number {
  let area = 0;
  forEachRow(mask, within, (from, to) => {
    for (let at = from; at < to; at++) area += mask.data[at]!;
  });
  return area;
}

/** The tight box; [0, 0, 0, 0] for an empty mask. */
export function maskBox(mask: BitMask, within: Box = wholeBox(mask)): Box {
  let box = NOTHING;
  forEachRow(mask, within, (from, to, y) => {
    const row = mask.data.subarray(from, to); // a search in the whole of the data would not stop at the row's end
    const first = row.indexOf(1);
    if (first >= 0) box = around(box, [within[0] + first, y, within[0] + row.lastIndexOf(1) + 1, y + 1]);
  });
  return box;
}

/** Adds what another mask of the same size has inside a box. */
export function union(mask: BitMask, other: BitMask, within: Box = wholeBox(mask)): void {
  forEachRow(mask, within, (from, to) => {
    for (let at = from; at < to; at++) mask.data[at]! |= other.data[at]!;
  });
}

/** Takes away what another mask of the same size has inside a box. */
export function subtract(mask: BitMask, other: BitMask, within: Box = wholeBox(mask)): void {
  forEachRow(mask, within, (from, to) => {
    for (let at = from; at < to; at++) mask.data[at]! &= other.data[at]! ^ 1;
  });
}

/** Sets to `value` every pixel whose centre is at most `radius` from the segment: one step of a round brush. */
export function drawStroke(mask: BitMask, from: Position, to: Position, radius: number, value: number): Box {
  const [left, right] = from.x <= to.x ? [from.x, to.x] : [to.x, from.x];
  const [top, bottom] = from.y <= to.y ? [from.y, to.y] : [to.y, from.y];
  const box = clipped([left - radius, top - radius, right + radius, bottom + radius], mask.width, mask.height);
  const length = Math.hypot(to.x - from.x, to.y - from.y);
  // Half the brush's width, across the direction of the stroke.
  const across = length ? { x: ((from.y - to.y) / length) * radius, y: ((to.x - from.x) / length) * radius } : null;
  const body = across && [
    { x: from.x + across.x, y: from.y + across.y },
    { x: to.x + across.x, y: to.y + across.y },
    { x: to.x - across.x, y: to.y - across.y },
    { x: from.x - across.x, y: from.y - across.y },
  ];
  for (let y = box[1]; y < box[3]; y++) {
    const interval: [number, number] = [Infinity, -Infinity];
    crossDisc(from, radius, y + 0.5, interval);
    crossDisc(to, radius, y + 0.5, interval);
    if (body) crossOutline(body, y + 0.5, interval);
    const first = Math.max(box[0], Math.ceil(interval[0] - 0.5));
    const last = Math.min(box[2], Math.floor(interval[1] - 0.5) + 1);
    if (first < last) mask.data.fill(value, y * mask.width + first, y * mask.width + last);
  }
  return box;
}

/** Sets to `value` every pixel whose centre is inside the closed polygon; inside twice is outside (even-odd). */
export function fillPolygon(mask: BitMask, corners: readonly Position[], value: number): Box {
  if (corners.length < 3) return NOTHING;
  let reach: Box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const { x, y } of corners) {
    reach = [Math.min(reach[0], x), Math.min(reach[1], y), Math.max(reach[2], x), Math.max(reach[3], y)];
  }
  const box = clipped(reach, mask.width, mask.height);
  const crossings = rowCrossings(corners, box);
  for (let y = box[1]; y < box[3]; y++) {
    const row = crossings[y - box[1]]!.sort((one, other) => one - other);
    for (let index = 0; index + 1 < row.length; index += 2) {
      const first = Math.max(box[0], Math.ceil(row[index]! - 0.5));
      const last = Math.min(box[2], Math.ceil(row[index + 1]! - 0.5));
      if (first < last) mask.data.fill(value, y * mask.width + first, y * mask.width + last);
    }
  }
  return box;
}

/** A mask at rest as pixels. */
export function runsToMask(runs: Runs): BitMask {
  const mask = emptyMask(runs.size[1], runs.size[0]);
  drawRuns(mask, runs, 1);
  return mask;
}

/** Sets to `value` every pixel of a mask at rest. */
export function drawRuns(mask: BitMask, runs: Runs, value: number): void {
  forEachSpan(runs, (x, top, bottom) => {
    for (let at = top * mask.width + x; at < bottom * mask.width; at += mask.width) mask.data[at] = value;
  });
}

/** The pixels that have `value`, at rest. Nothing outside the box is looked at; it counts as outside the mask. */
export function maskToRuns(mask: BitMask, within: Box = wholeBox(mask), value = 1): Runs {
  const { width, height, data } = mask;
  // Row by row as the memory lies; the changes are then put in columns, where they stay in their order.
  let columns = new Int32Array(1024);
  let rows = new Int32Array(1024);
  let length = 0;
  const perColumn = new Uint32Array(width + 1);
  for (let y = within[1]; y <= within[3] && !isEmpty(within); y++) {
    for (let x = within[0]; x < within[2]; x++) {
      const at = y * width + x;
      const inside = y < within[3] && data[at] === value;
      const before = y > within[1] && data[at - width] === value;
      if (inside === before) continue;
      if (length === columns.length) [columns, rows] = [grown(columns), grown(rows)];
      columns[length] = x;
      rows[length++] = y;
      perColumn[x + 1]!++;
    }
  }
  for (let x = 0; x < width; x++) perColumn[x + 1]! += perColumn[x]!;
  const changes = new Uint32Array(length);
  for (let index = 0; index < length; index++) {
    const x = columns[index]!;
    changes[perColumn[x]!++] = x * height + rows[index]!;
  }
  return { size: [height, width], ends: joined(changes, width * height) };
}

function forEachRow(mask: BitMask, within: Box, visit: (from: number, to: number, y: number) => void): void {
  if (isEmpty(within)) return;
  for (let y = within[1]; y < within[3]; y++) visit(y * mask.width + within[0], y * mask.width + within[2], y);
}

function crossDisc(centre: Position, radius: number, y: number, interval: [number, number]): void {
  const rest = radius * radius - (y - centre.y) ** 2;
  if (rest < 0) return;
  interval[0] = Math.min(interval[0], centre.x - Math.sqrt(rest));
  interval[1] = Math.max(interval[1], centre.x + Math.sqrt(rest));
}

function crossOutline(corners: readonly Position[], y: number, interval: [number, number]): void {
  corners.forEach((corner, index) => {
    const next = corners[(index + 1) % corners.length]!;
    if (corner.y <= y === next.y <= y) return;
    const x = corner.x + ((y - corner.y) / (next.y - corner.y)) * (next.x - corner.x);
    interval[0] = Math.min(interval[0], x);
    interval[1] = Math.max(interval[1], x);
  });
}

/** For each row of the box, where the line through its centres meets the outline. */
function rowCrossings(corners: readonly Position[], box: Box): number[][] {
  const rows: number[][] = Array.from({ length: Math.max(0, box[3] - box[1]) }, () => []);
  corners.forEach((corner, index) => {
    const next = corners[(index + 1) % corners.length]!;
    const [upper, lower] = corner.y <= next.y ? [corner, next] : [next, corner];
    // Centres with upper.y <= y + 0.5 < lower.y, so that a corner that two sides share is met once.
    const last = Math.min(box[3], Math.ceil(lower.y - 0.5));
    for (let y = Math.max(box[1], Math.ceil(upper.y - 0.5)); y < last; y++) {
      const share = (y + 0.5 - upper.y) / (lower.y - upper.y);
      rows[y - box[1]]!.push(upper.x + share * (lower.x - upper.x));
    }
  });
  return rows;
}

function grown(values: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * values.length);
  larger.set(values);
  return larger;
}

/** Changes by place, and the end of the picture; two at one place (a column's end, the next one's start) are none. */
function joined(changes: Uint32Array, end: number): Uint32Array {
  const ends = new Uint32Array(changes.length + 1);
  let length = 0;
  for (const change of changes) {
    if (length && ends[length - 1] === change) length--;
    else ends[length++] = change;
  }
  if (!length || ends[length - 1] !== end) ends[length++] = end;
  return ends.slice(0, length);
}
