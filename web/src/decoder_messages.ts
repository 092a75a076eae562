/** What the page and the decoder's worker say to each other. */

/** One prompt in the input frame, as the graphs take it. */
export interface Question {
  picture: string;
  /** x and y in turn. */
  coords: Float32Array;
  /** 1, 0, 2 and 3 for the corners of a box, -1 for the padding point of a prompt without one. */
  labels: Float32Array;
  /** Logits of the whole square. */
  mask?: Float32Array;
  /** Rows and columns of cells that the picture covers. */
  grid: [number, number];
  /** Three candidates of a prompt that may mean several things, or one. */
  several: boolean;
}

/** Logits of (4 * rows) x (4 * columns) for each candidate, the best first. */
export interface Answer {
  ious: number[];
  masks: Float32Array<ArrayBuffer>[];
}

export type ToWorker =
  | { kind: "open"; number: number; image: ArrayBuffer; prompt: ArrayBuffer; threads: number }
  | { kind: "picture"; number: number; id: string; embeddings?: Float32Array; shape: number[] }
  | { kind: "ask"; number: number; question: Question };

/** `answer` belongs to "ask"; `held` names the pictures that the worker still has. */
export type FromWorker =
  | { number: number; problem: string }
  | { number: number; held: string[] }
  | { number: number; answer: Answer };
