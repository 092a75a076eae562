import { expect, test } from "vitest";
import { actionOf, SECTIONS, type Situation } from "../src/keyboard";

const calm: Situation = { draft: false, candidates: 0, typing: false, onControl: false, dialog: false };
const labels = new Map([["1", "dog"], ["2", "cat"], ["4", "bird"], ["q", "queen"]]);

function press(text: string, situation: Partial<Situation> = {}) {
  const parts = text.split("+").filter(Boolean);
  const key = text.endsWith("+") ? "+" : parts.pop()!;
  const has = (name: string) => parts.includes(name);
  const event = { key, ctrlKey: has("ctrl"), metaKey: has("meta"), altKey: has("alt"), shiftKey: has("shift") };
  return actionOf(event, { ...calm, ...situation }, labels);
}

test.each([
  ["Enter", "accept"], ["a", "accept"], ["A", "accept"], ["Escape", "cancel"], ["Backspace", "remove"],
  ["Delete", "remove"], ["ctrl+z", "undo"], ["meta+z", "undo"], ["ctrl+shift+Z", "redo"], ["ctrl+y", "redo"],
  ["v", "tool-select"], ["p", "tool-point"], ["r", "tool-box"], ["l", "tool-lasso"], ["b", "tool-brush"],
  ["e", "tool-eraser"], ["g", "tool-everything"], ["[", "brush-smaller"], ["]", "brush-larger"], ["f", "fit"],
  ["+", "zoom-in"], ["=", "zoom-in"], ["-", "zoom-out"], ["ArrowLeft", "previous-image"], [",", "previous-image"],
  ["ArrowRight", "next-image"], [".", "next-image"], ["d", "done"], ["h", "hide"], ["shift+?", "help"], ["c", "clean"],
])("%s means %s", (key, action) => expect(press(key)).toBe(action));

test("a digit chooses a candidate while there is a draft, and a label otherwise", () => {
  expect(press("1")).toBe("label-dog");
  expect(press("1", { draft: true, candidates: 3 })).toBe("candidate-1");
  expect(press("4", { draft: true, candidates: 3 })).toBe("label-bird");
  expect(press("2", { draft: true, candidates: 1 })).toBeNull();
});

test("Tab chooses the next candidate only when there are several and no control is focused", () => {
  expect(press("Tab")).toBeNull();
  expect(press("Tab", { draft: true, candidates: 3 })).toBe("next-candidate");
  expect(press("Tab", { draft: true, candidates: 3, onControl: true })).toBeNull();
  expect(press("shift+Tab", { draft: true, candidates: 3 })).toBeNull();
});

test("typing, dialogs and the browser's own shortcuts are left alone", () => {
  expect(press("a", { typing: true })).toBeNull();
  expect(press("ctrl+z", { typing: true })).toBeNull();
  expect(press("Escape", { dialog: true })).toBeNull();
  for (const key of ["ctrl+a", "ctrl+f", "ctrl+1", "alt+ArrowLeft", "meta+r", "ctrl+alt+z"]) expect(press(key)).toBeNull();
  expect(press("Enter", { onControl: true })).toBeNull();
});

test("a label's own key wins over nothing else in use, and no key stands for two actions", () => {
  expect(press("q")).toBe("label-queen");
  const keys = SECTIONS.flatMap(({ lines }) => lines.flatMap(({ match }) => match ?? []));
  expect(new Set(keys).size).toBe(keys.length);
});
