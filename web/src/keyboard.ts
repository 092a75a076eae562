/** Every key of the app: one table that the key handler and the help sheet read. */

export type Action =
  | "accept"
  | "cancel"
  | "remove"
  | "undo"
  | "redo"
  | "tool-select"
  | "tool-point"
  | "tool-box"
  | "tool-lasso"
  | "tool-brush"
  | "tool-eraser"
  | "tool-everything"
  | "tool-pan"
  | "brush-smaller"
  | "brush-larger"
  | "clean"
  | "next-candidate"
  | `candidate-${number}`
  | `label-${string}`
  | "fit"
  | "zoom-in"
  | "zoom-out"
  | "previous-image"
  | "next-image"
  | "done"
  | "hide"
  | "help";

export interface Key {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  shiftKey: boolean;
}

export interface Situation {
  /** A mask is being made: keys speak of it first. */
  draft: boolean;
  /** How many candidates it has. */
  candidates: number;
  /** Focus is in a field that takes text. */
  typing: boolean;
  /** Focus is on something that Enter and Space press and Tab leaves. */
  onControl: boolean;
  dialog: boolean;
}

interface Line {
  keys: string[];
  text: string;
  action?: Action;
  /** Values of KeyboardEvent.key, lower case. */
  match?: string[];
}

/** In the order of the help sheet. Lines without an action tell what the pointer does. */
export const SECTIONS: readonly { title: string; lines: readonly Line[] }[] = [
  {
    title: "Make a mask",
    lines: [
      { keys: ["Click"], text: "Add to the object" },
      { keys: ["Right click", "Alt + click"], text: "Take away from it" },
      { keys: ["Drag"], text: "Box around the object" },
      { keys: ["1–3", "Tab"], text: "Choose a candidate", action: "next-candidate", match: ["tab"] },
      { keys: ["Enter", "A"], text: "Accept", action: "accept", match: ["enter", "a"] },
      { keys: ["Esc"], text: "Cancel", action: "cancel", match: ["escape"] },
      { keys: ["C"], text: "Fill holes, drop islands", action: "clean", match: ["c"] },
    ],
  },
  {
    title: "Tools",
    lines: [
      { keys: ["P"], text: "Points", action: "tool-point", match: ["p"] },
      { keys: ["R"], text: "Box", action: "tool-box", match: ["r"] },
      { keys: ["L"], text: "Lasso", action: "tool-lasso", match: ["l"] },
      { keys: ["B"], text: "Brush", action: "tool-brush", match: ["b"] },
      { keys: ["E"], text: "Eraser", action: "tool-eraser", match: ["e"] },
      { keys: ["["], text: "Smaller brush", action: "brush-smaller", match: ["["] },
      { keys: ["]"], text: "Larger brush", action: "brush-larger", match: ["]"] },
      { keys: ["V"], text: "Select masks", action: "tool-select", match: ["v"] },
      { keys: ["G"], text: "Everything", action: "tool-everything", match: ["g"] },
    ],
  },
  {
    title: "Masks",
    lines: [
      { keys: ["1–9"], text: "Label (with no draft)" },
      { keys: ["Delete", "Backspace"], text: "Delete the selected mask", action: "remove", match: ["delete", "backspace"] },
      { keys: ["H"], text: "Hide or show masks", action: "hide", match: ["h"] },
      { keys: ["Ctrl + Z"], text: "Undo" },
      { keys: ["Ctrl + Shift + Z"], text: "Redo" },
    ],
  },
  {
    title: "View and images",
    lines: [
      { keys: ["Wheel", "Pinch"], text: "Zoom" },
      { keys: ["Space + drag", "Middle drag"], text: "Move the picture" },
      { keys: ["F"], text: "Fit the view", action: "fit", match: ["f"] },
      { keys: ["+"], text: "Zoom in", action: "zoom-in", match: ["+", "="] },
      { keys: ["−"], text: "Zoom out", action: "zoom-out", match: ["-", "_"] },
      { keys: ["←", ","], text: "Previous image", action: "previous-image", match: ["arrowleft", ","] },
      { keys: ["→", "."], text: "Next image", action: "next-image", match: ["arrowright", "."] },
      { keys: ["D"], text: "Image is done", action: "done", match: ["d"] },
      { keys: ["?"], text: "This sheet", action: "help", match: ["?"] },
    ],
  },
];

const ACTIONS = new Map<string, Action>(
  SECTIONS.flatMap(({ lines }) =>
    lines.flatMap(({ action, match }) => (action ? (match ?? []).map((key): [string, Action] => [key, action]) : [])),
  ),
);

/** What a key does, or null. `shortcuts` are the labels' keys. */
export function actionOf(event: Key, situation: Situation, shortcuts: ReadonlyMap<string, string>): Action | null {
  if (situation.dialog || situation.typing) return null;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (event.altKey) return null;
    if (key === "z") return event.shiftKey ? "redo" : "undo";
    return key === "y" && !event.shiftKey ? "redo" : null;
  }
  if (event.altKey) return null;
  const candidate = Number(key);
  if (situation.draft && candidate >= 1 && candidate <= situation.candidates) return `candidate-${candidate}`;
  // Tab walks through the page unless there is something to choose; a focused control keeps Enter for itself.
  if (key === "tab" && (!situation.draft || situation.candidates < 2 || situation.onControl || event.shiftKey)) return null;
  if (key === "enter" && situation.onControl) return null;
  const label = situation.draft && /^[1-3]$/.test(key) ? undefined : shortcuts.get(key);
  if (label !== undefined) return `label-${label}`;
  return ACTIONS.get(key) ?? null;
}
