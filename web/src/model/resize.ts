/**
 * Where a pixel goes: the twin of `opensam.geometry.Resize`, held to it by test/golden/resize.json.
 *
 * The model looks at a square of `imageSize` pixels. A picture is scaled until its longest side fills the square,
 * and lies in its top left corner; the rest is padding. Points are (x, y) in pixels; sizes are [H, W].
 */

/** Pixels of the square under one cell of the image embeddings, and under one of a low-resolution mask. */
export const EMBEDDING_STRIDE = 16;
export const MASK_STRIDE = 4;

export type Size = [number, number];

export class Resize {
  readonly originalSize: Size;
  readonly imageSize: number;
  /** Side of the square over the longest side of the picture. */
  readonly scale: number;
  /** [H, W] after scaling and before padding: rounded half up, at least 1 pixel. */
  readonly inputSize: Size;
  /** [rows, columns] of embedding cells that the picture covers; the others see padding only. */
  readonly gridSize: Size;

  constructor(originalSize: Size, imageSize: number) {
    if (originalSize.length !== 2 || [...originalSize, imageSize].some((size) => !Number.isInteger(size) || size < 1)) {
      throw new RangeError(
        "Resize expects originalSize [height, width] and imageSize as whole numbers of at least 1, " +
          `got [${originalSize.join(", ")}] and ${imageSize}.`,
      );
    }
    this.originalSize = [originalSize[0], originalSize[1]];
    this.imageSize = imageSize;
    this.scale = imageSize / Math.max(...originalSize);
    const input = (side: number): number => Math.max(1, Math.floor(side * this.scale + 0.5));
    this.inputSize = [input(originalSize[0]), input(originalSize[1])];
    this.gridSize = [
      Math.ceil(this.inputSize[0] / EMBEDDING_STRIDE),
      Math.ceil(this.inputSize[1] / EMBEDDING_STRIDE),
    ];
  }

  /** Points, x and y in turn, from the original frame to the input frame; each axis by its ratio of rounded sizes. */
  applyCoords(coords: ArrayLike<number>): Float64Array {
    const [height, width] = this.originalSize;
    const [inputHeight, inputWidth] = this.inputSize;
    return multiplied(coords, inputWidth / width, inputHeight / height);
  }

  /** Points, x and y in turn, from the input frame to the original frame. */
  restoreCoords(coords: ArrayLike<number>): Float64Array {
    const [height, width] = this.originalSize;
    const [inputHeight, inputWidth] = this.inputSize;
    return multiplied(coords, width / inputWidth, height / inputHeight);
  }
}

function multiplied(coords: ArrayLike<number>, x: number, y: number): Float64Array {
  if (coords.length % 2) {
    throw new RangeError(`expected points as x, y in turn, got ${coords.length} numbers.`);
  }
  return Float64Array.from(coords, (value, index) => value * (index % 2 ? y : x));
}
