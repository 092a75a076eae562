/**
 * The mask decoder in the browser, as one thread of several runs it: all have the same code, addresses and memory, and
 * meet where one needs what the others made. The first thread brings weights, embeddings and masks into the memory and
 * takes the answers out.
 */
import type { Checkpoint, Header } from "./checkpoint";
import { cellsOf, numberCells, pictureAt, projectPicture, projectPositions, type Picture } from "./image_side";
import { linked, ROW, TILE } from "./kernels";
import { PromptSide } from "./prompt_side";
import { scratchOf, type Scratch } from "./scratch";
import { Arena, Store } from "./store";
import { CONTROL_BYTES, Team } from "./team";
import { add, attendToTokens, embed, feedForward, network, normRows, type Run } from "./tokens";
import { upscale } from "./upscaling";
import { weightsOf } from "./weights";

/** About 30 MB each where the square has 1024 pixels. */
export const PICTURES_KEPT = 3;
const PAGE = 65536;
/** Of memory at most: 1 GB. */
export const MOST_PAGES = 16384;

export interface Thread {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  header: Header;
  number: number;
  threads: number;
}

/** A prompt for all threads; a mask lies in the memory already. */
export interface Task {
  slot: number;
  coords: Float32Array;
  labels: Float32Array;
  masked: boolean;
  several: boolean;
}

export interface Answer {
  /** Of the wanted candidates, the best first; so are the masks, of (4 * rows) x (4 * columns) logits. */
  ious: number[];
  masks: Float32Array<ArrayBuffer>[];
}

/** What lies in the memory beside the room for a prompt, in its order. */
function placesOf(store: Store, threads: number) {
  const { arena } = store;
  const weights = weightsOf(store);
  const cells = cellsOf(weights);
  return {
    weights,
    /** Position codes of all cells, projected. */
    codes: arena.floats(weights.code.rows * cells),
    pictures: Array.from({ length: PICTURES_KEPT }, () => pictureAt(arena, weights)),
    /** Image tokens of a picture on its way, or the logits of a mask. */
    input: arena.floats(weights.channels * cells),
    /** A tile of channels for each thread. */
    spares: Array.from({ length: threads }, () => arena.floats(weights.channels * TILE)),
    end: arena.end,
  };
}

export class Decoder {
  private readonly run: Run;
  private readonly places: ReturnType<typeof placesOf>;

  /** @param checkpoint for the first thread, which writes the weights */
  constructor(
    private readonly thread: Thread,
    checkpoint?: Checkpoint,
  ) {
    const { module, memory, header, number, threads } = thread;
    this.places = placesOf(new Store(new Arena(CONTROL_BYTES), header, memory, checkpoint), threads);
    const team = new Team(number, threads, memory, 0);
    this.run = { kernels: linked(module, memory), values: new Float32Array(memory.buffer), team, weights: this.places.weights };
  }

  /** Makes room for weights and pictures; before there is any thread. */
  static reserve(header: Header, memory: WebAssembly.Memory, threads: number): void {
    grow(memory, placesOf(new Store(new Arena(CONTROL_BYTES), header, memory), threads).end);
  }

  get cellsPerSide(): number {
    return this.run.weights.imageSize / 16;
  }

  /** The first thread's: embeddings (channels, rows, columns) of a picture that covers `grid`. */
  bring(slot: number, embeddings: Float32Array, grid: [number, number]): void {
    const { values, weights } = this.fresh();
    const cells = cellsOf(weights);
    if (embeddings.length !== weights.channels * cells) throw new Error("The embedding does not fit the decoder; reload the page.");
    for (let channel = 0; channel < weights.channels; channel++) {
      for (let tile = 0; tile < cells / TILE; tile++) {
        const to = this.places.input / 4 + (tile * weights.channels + channel) * TILE;
        values.set(embeddings.subarray(channel * cells + tile * TILE, channel * cells + (tile + 1) * TILE), to);
        const absent = values[weights.noMask / 4 + channel]!;
        for (let index = to; index < to + TILE; index++) values[index]! += absent;
      }
    }
    const picture = this.places.pictures[slot]!;
    picture.grid = grid;
    numberCells(this.thread.memory, picture, this.cellsPerSide);
  }

  /** The first thread's: logits of the whole square. */
  bringMask(logits: Float32Array): void {
    this.fresh().values.set(logits, this.places.input / 4);
  }

  private get spare(): number {
    return this.places.spares[this.thread.number]!;
  }

  /** Position codes; once. */
  start(): void {
    projectPositions(this.fresh(), this.places.codes, this.spare);
    this.run.team.meet();
  }

  project(slot: number, grid: [number, number]): void {
    const picture = this.places.pictures[slot]!;
    picture.grid = grid;
    projectPicture(this.fresh(), picture, this.places.input, this.places.codes, this.spare);
    this.run.team.meet();
  }

  /** The first thread's: room for a prompt of so many points. */
  makeRoom(points: number): void {
    const { weights } = this.run;
    const { threads, memory } = this.thread;
    grow(memory, scratchOf(this.places.end, weights, 1 + weights.masks + points, 0, threads).end);
  }

  /** Masks of one prompt; every thread works them out, and each can tell them. */
  decode({ slot, coords, labels, masked, several }: Task): Answer {
    const run = this.fresh();
    const { values, weights, team } = run;
    const { channels, layers, masks } = weights;
    const picture = this.places.pictures[slot]!;
    const count = 1 + masks + labels.length;
    const scratch = scratchOf(this.places.end, weights, count, team.number, team.size);
    const { tokens, queries, sum } = scratch;
    embed(run, coords, labels, tokens);
    values.copyWithin(queries / 4, tokens / 4, tokens / 4 + count * channels);
    const side = new PromptSide(run, picture, this.places.codes, scratch, count);
    if (masked) side.addMask(this.places.input);
    layers.forEach((layer, number) => {
      attendToTokens(run, layer, number === 0, queries, tokens, count, scratch.attention);
      add(values, sum, queries, tokens, count * channels);
      side.read(layer.read, sum, count, sum);
      add(values, queries, queries, sum, count * channels);
      normRows(run, layer.norms[1], queries, count, channels);
      feedForward(run, layer, queries, count, scratch.hidden, scratch.networks + 4 * number * team.size * count * channels);
      side.write(layer, queries, tokens);
    });
    // Only the outputs that are asked for read on: the predicted IoUs, and masks.
    const wanted = several ? Array.from({ length: masks - 1 }, (_, number) => 1 + number) : [0];
    [0, ...wanted.map((number) => 1 + number)].forEach((from, to) => {
      for (const at of [queries, tokens]) {
        values.copyWithin(at / 4 + to * channels, at / 4 + from * channels, at / 4 + (from + 1) * channels);
      }
    });
    const outputs = 1 + wanted.length;
    add(values, sum, queries, tokens, outputs * channels);
    side.read(weights.final.read, sum, outputs, sum);
    add(values, queries, queries, sum, outputs * channels);
    normRows(run, weights.final.norm, queries, outputs, channels);
    return this.answer(run, picture, side, scratch, wanted);
  }

  private answer(run: Run, picture: Picture, side: PromptSide, scratch: Scratch, wanted: number[]): Answer {
    const { values, weights, team } = run;
    const { channels, iouHead, hypernetworks, masks } = weights;
    const head = network(run, iouHead, scratch.queries, scratch.heads) / 4;
    const ious = values.slice(head, head + masks);
    // The best first. Each thread has the same numbers and so the same order.
    const order = [...wanted.keys()].sort((one, other) => ious[wanted[other]!]! - ious[wanted[one]!]!);
    order.forEach((output, place) => {
      const x = scratch.queries + 4 * (1 + output) * channels;
      const made = network(run, hypernetworks[wanted[output]!]!, x, scratch.heads) / 4;
      values.copyWithin((scratch.hyper + place * ROW) / 4, made, made + TILE);
    });
    upscale(run, picture, side, scratch, scratch.hyper, wanted.length);
    team.meet();
    const size = 16 * picture.grid[0] * picture.grid[1];
    const mine = team.number === 0 ? order : [];
    return {
      ious: order.map((output) => ious[wanted[output]!]!),
      masks: mine.map((_, place) => values.slice(scratch.masks / 4 + place * size, scratch.masks / 4 + (place + 1) * size)),
    };
  }

  /** With a view of all of the memory, which may have grown. */
  private fresh(): Run {
    const { run, thread } = this;
    if (run.values.buffer !== thread.memory.buffer) run.values = new Float32Array(thread.memory.buffer);
    return run;
  }
}

function grow(memory: WebAssembly.Memory, bytes: number): void {
  const pages = Math.ceil((bytes - memory.buffer.byteLength) / PAGE);
  try {
    if (pages > 0) memory.grow(pages);
  } catch {
    throw new Error("The browser has no memory left for this; use fewer points, or close other pages.");
  }
}
