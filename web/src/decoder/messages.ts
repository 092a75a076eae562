/** What the page, the decoder's worker and its helpers say to each other. */
import type { Answer, Task, Thread } from "./decoder";

export type { Answer };

/** One prompt in the input frame. */
export interface Question {
  picture: string;
  /** x and y in turn. */
  coords: Float32Array;
  /** 1, 0, 2 and 3 for the corners of a box, -1 for the padding point of a prompt without one. */
  labels: Float32Array;
  /** Logits of the whole square. */
  mask?: Float32Array;
  /** Three candidates of a prompt that may mean several things, or one. */
  several: boolean;
}

export type ToWorker =
  | { kind: "open"; number: number; weights: ArrayBuffer; threads: number }
  | { kind: "picture"; number: number; id: string; embeddings?: Float32Array; grid: [number, number] }
  | { kind: "ask"; number: number; question: Question };

/** `answer` belongs to "ask"; `held` names the pictures that the worker still has. */
export type FromWorker =
  | { number: number; problem: string }
  | { number: number; held: string[] }
  | { number: number; answer: Answer };

/** From the worker to the other threads. */
export type ToHelper =
  | { kind: "join"; thread: Thread }
  | { kind: "project"; slot: number; grid: [number, number] }
  | { kind: "decode"; task: Task };
