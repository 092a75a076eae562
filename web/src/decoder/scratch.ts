/** Room for one prompt: what its threads share, and what each has for itself. */
import { cellsOf } from "./image_side";
import { TILE } from "./kernels";
import { Arena } from "./store";
import { MASK_ROWS, type Weights } from "./weights";

export type Scratch = ReturnType<typeof scratchOf>;

/** A multiple of four that is not less: what the kernels want where they sum. */
export function padded(count: number): number {
  return Math.ceil(count / 4) * 4;
}

/**
 * @param tokens of the prompt, those of the outputs included
 * @param number of the thread whose own room is meant
 * @param threads how many there are
 */
export function scratchOf(start: number, weights: Weights, tokens: number, number: number, threads: number) {
  const { channels, heads, depth, width, layers, masks } = weights;
  const cells = cellsOf(weights);
  const tiles = cells / TILE;
  const attending = heads * tokens;
  const arena = new Arena(start);
  const floats = (count: number): number => arena.floats(count);
  /** Rows of a tile at most, and one more for the upscaling. */
  const room = padded(MASK_ROWS + layers.length * (heads * (tokens - 1) + 1) + 1);
  const shared = {
    room,
    rows: floats(tiles * room * TILE),
    scale: floats(cells),
    /** For each attention to the image and each network, a part of every thread. */
    reads: floats((layers.length + 1) * threads * attending * (2 + depth + room)),
    networks: floats(layers.length * threads * tokens * channels),
    upscaling: floats(channels * room),
    upscalingLanes: floats(channels * room * 4),
    masks: floats(masks * 16 * cells),
  };
  const own = () => ({
    tokens: floats(tokens * channels),
    queries: floats(tokens * channels),
    sum: floats(tokens * channels),
    attention: floats(5 * tokens * channels),
    projected: floats(tokens * width),
    values: floats(tokens * width),
    through: floats(attending * channels),
    matrix: floats(attending * room),
    rowLanes: floats(attending * room * 4),
    valueLanes: floats(attending * depth * 4),
    largest: floats(attending),
    sums: floats(attending * 4),
    scores: floats(Math.ceil(tiles / threads) * attending * TILE),
    vectors: floats(room * channels),
    gram: floats(room * room),
    gramLanes: floats(4 * room * 4),
    /** Of each layer: what its vectors were made from, twice. */
    sources: layers.map(() => ({ tokens: floats(attending * depth), constant: floats(padded(heads * (depth + 1))) })),
    products: floats(room * TILE),
    hidden: floats(tokens * TILE),
    picked: floats(Math.max(room, channels) * TILE),
    upscaled: floats(channels * TILE),
    upscaledTwice: floats((channels / 2) * TILE),
    pixels: floats(4 * masks * TILE),
    heads: floats((masks + 1) * 3 * channels),
    hyper: floats(masks * TILE),
  });
  let mine = own();
  for (let thread = 0; thread < threads; thread++) {
    const place = thread ? own() : mine;
    if (thread === number) mine = place;
  }
  return { ...shared, ...mine, end: arena.end };
}
