/**
 * Places in the memory that all threads share.
 *
 * Every thread asks for the same places in the same order and so gets the same addresses; only the thread that has the
 * checkpoint writes values there.
 */
import { entryOf, type Checkpoint, type Header } from "./checkpoint";
import { TILE } from "./kernels";

/** x -> x weight^T + bias. The weight lies in tiles of 64 outputs, a row for each input; the bias is as wide as these. */
export interface Linear {
  inputs: number;
  outputs: number;
  weight: number;
  bias: number;
}

/** A matrix in tiles of 64 of its columns: row r of tile t begins at `at + (t * rows + r) * ROW`. */
export interface Tiled {
  at: number;
  rows: number;
}

export interface Norm {
  weight: number;
  bias: number;
}

/** Hands out addresses one after the other, on lines of the cache. */
export class Arena {
  constructor(public end: number) {}

  floats(count: number): number {
    const at = this.end;
    this.end = at + Math.ceil(count / 16) * 64;
    return at;
  }
}

export class Store {
  constructor(
    readonly arena: Arena,
    readonly header: Header,
    private readonly memory: WebAssembly.Memory,
    private readonly checkpoint?: Checkpoint,
  ) {}

  shape(name: string): number[] {
    return entryOf(this.header, name).shape;
  }

  /** Values that are made only where they are written. */
  place(count: number, make: (values: (name: string) => Float32Array) => ArrayLike<number>): number {
    const at = this.arena.floats(count);
    const { checkpoint } = this;
    if (checkpoint) new Float32Array(this.memory.buffer, at, count).set(make((name) => checkpoint.tensor(name)));
    return at;
  }

  plain(name: string): number {
    return this.place(sizeOf(this.shape(name)), (values) => values(name));
  }

  norm(name: string): Norm {
    return { weight: this.plain(`${name}.weight`), bias: this.plain(`${name}.bias`) };
  }

  /** A tensor as a matrix with its last axis as columns. */
  tiled(name: string, part: (values: Float32Array) => Float32Array = (values) => values, rows?: number): Tiled {
    const shape = this.shape(name);
    const columns = shape.at(-1)!;
    const count = rows ?? sizeOf(shape) / columns;
    return { rows: count, at: this.place(count * columns, (values) => inTiles(part(values(name)), count, columns)) };
  }

  linear(name: string): Linear {
    const [outputs, inputs] = this.shape(`${name}.weight`) as [number, number];
    const width = Math.ceil(outputs / TILE) * TILE;
    const weight = this.place(inputs * width, (values) => {
      const matrix = values(`${name}.weight`);
      const transposed = new Float32Array(inputs * width);
      for (let row = 0; row < outputs; row++) {
        for (let column = 0; column < inputs; column++) transposed[column * width + row] = matrix[row * inputs + column]!;
      }
      return inTiles(transposed, inputs, width);
    });
    const bias = this.place(width, (values) => {
      const padded = new Float32Array(width);
      padded.set(values(`${name}.bias`));
      return padded;
    });
    return { inputs, outputs, weight, bias };
  }
}

function sizeOf(shape: number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function inTiles(matrix: Float32Array, rows: number, columns: number): Float32Array {
  const tiles = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += TILE) {
      tiles.set(matrix.subarray(row * columns + column, row * columns + column + TILE), column * rows + row * TILE);
    }
  }
  return tiles;
}
