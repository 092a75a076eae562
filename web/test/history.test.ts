import { describe, expect, it } from "vitest";
import { History } from "../src/history";

describe("the history", () => {
  it("goes back to the first state and forth to the last", () => {
    const history = new History(0);
    for (let step = 1; step <= 1000; step++) history.push(step);
    for (let step = 999; step >= 0; step--) expect(history.undo()).toBe(step);
    expect(history.canUndo).toBe(false);
    expect(history.undo()).toBe(0);
    for (let step = 1; step <= 1000; step++) expect(history.redo()).toBe(step);
    expect(history.canRedo).toBe(false);
    expect(history.redo()).toBe(1000);
  });

  it("forgets what could be redone when something new is done", () => {
    const history = new History("a");
    history.push("b");
    history.undo();
    history.push("c");
    expect(history.canRedo).toBe(false);
    expect(history.undo()).toBe("a");
    expect(history.redo()).toBe("c");
  });

  it("takes a late result into the step that it belongs to", () => {
    const history = new History("a");
    history.push("asked");
    history.amend("answered");
    expect(history.undo()).toBe("a");
    expect(history.redo()).toBe("answered");
  });

  it("makes states that lie long past smaller, and only those", () => {
    const history = new History(100, (state: number) => -state, 3);
    for (const state of [101, 102, 103, 104]) history.push(state);
    expect([history.undo(), history.undo(), history.undo(), history.undo()]).toEqual([103, 102, -101, -100]);
  });
});
