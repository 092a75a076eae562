/** What a tool is: it hears of the pointer in pixels of the picture, and may draw marks. */
import type { Marks } from "../canvas/painter";

export type Tool = "point" | "box" | "lasso" | "brush" | "eraser" | "select" | "everything" | "pan";

export interface PointerAt {
  /** Pixels of the picture; may lie outside it. */
  x: number;
  y: number;
  inside: boolean;
  /** Right button, Alt or a long press: the opposite of what the tool does. */
  opposite: boolean;
  /** Pixels of the picture in one CSS pixel. */
  reach: number;
  /** When the event happened, on the clock of performance.now(). */
  stamp: number;
}

export interface ToolHandler {
  readonly cursor: string;
  /** The pointer moves without a button; null when it leaves. */
  hover?(at: PointerAt | null): void;
  down?(at: PointerAt): void;
  drag?(at: PointerAt): void;
  up?(at: PointerAt): void;
  /** What was begun ends without a result: a second finger, Escape, another tool. */
  cancel?(): void;
  marks?(marks: Marks): void;
}

/** CSS pixels that a pointer may move and still click. */
export const CLICK_SLACK = 4;
