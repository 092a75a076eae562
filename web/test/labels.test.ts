import { describe, expect, test } from "vitest";
import { ApiError, type LabelSet } from "../src/project/api";
import {
  addLabel, COLORS, freeColor, freeShortcut, inkOn, LabelList, nameError, recolorLabel, rekeyLabel, removeLabel, renameLabel,
} from "../src/project/labels";
import type { Label } from "../src/project/types";

const DOG: Label = { name: "dog", color: COLORS[0], shortcut: "1" };
const CAT: Label = { name: "cat", color: COLORS[1], shortcut: "2" };

describe("changes", () => {
  test("a new label gets the first free key and colour", () => {
    expect(addLabel(" bird ")([DOG, CAT])).toEqual([DOG, CAT, { name: "bird", color: COLORS[2], shortcut: "3" }]);
    expect(freeShortcut([CAT])).toBe("1");
    expect(freeColor([CAT])).toBe(COLORS[0]);
  });

  test("after nine labels there is no key left, and colours come again", () => {
    let labels: Label[] = [];
    for (let index = 0; index < 12; index++) labels = addLabel(`l${index}`)(labels);
    expect(labels[8]!.shortcut).toBe("9");
    expect(labels[9]!.shortcut).toBe("");
    expect(labels[10]!.color).toBe(COLORS[0]);
  });

  test("a key moves to the label that takes it", () => {
    expect(rekeyLabel("dog", "2")([DOG, CAT]).map(({ shortcut }) => shortcut)).toEqual(["2", ""]);
  });

  test("rename, recolour and delete touch one label", () => {
    expect(renameLabel("dog", "hound")([DOG, CAT])).toEqual([{ ...DOG, name: "hound" }, CAT]);
    expect(recolorLabel("cat", "#000000")([DOG, CAT])).toEqual([DOG, { ...CAT, color: "#000000" }]);
    expect(removeLabel("dog")([DOG, CAT])).toEqual([CAT]);
  });

  test("names are neither empty, endless nor taken", () => {
    expect(nameError([DOG], "  ")).toBe("A label needs a name.");
    expect(nameError([DOG], "x".repeat(101))).toContain("at most 100");
    expect(nameError([DOG], "dog")).toContain("already");
    expect(nameError([DOG], "dog", "dog")).toBeNull();
    expect(() => renameLabel("gone", "x")([DOG])).toThrow("gone");
  });

  test("ink is dark on light colours and light on dark ones", () => {
    expect(inkOn("#ffffff")).toBe("#000");
    expect(inkOn("#d6b200")).toBe("#000");
    expect(inkOn("#6a5acd")).toBe("#fff");
  });
});

class FakeLabels {
  version = 1;
  stored: Label[] = [DOG];
  renames: (Record<string, string> | undefined)[] = [];
  labels = async (): Promise<LabelSet> => ({ version: this.version, labels: this.stored });
  saveLabels = async (version: number, labels: readonly Label[], renamed?: Record<string, string>): Promise<LabelSet> => {
    if (version !== this.version) throw new ApiError("changed", 409, await this.labels());
    this.version++;
    this.stored = [...labels];
    this.renames.push(renamed);
    return this.labels();
  };
}

describe("the list on the server", () => {
  test("a change that somebody else was quicker with is made on theirs", async () => {
    const server = new FakeLabels();
    const list = new LabelList(server);
    await list.load();
    [server.version, server.stored] = [5, [DOG, CAT]];
    await list.change(addLabel("bird"));
    expect(server.stored.map(({ name, shortcut }) => name + shortcut)).toEqual(["dog1", "cat2", "bird3"]);
    expect(list.labels.value).toEqual(server.stored);
  });

  test("changes follow each other, each on the result of the one before", async () => {
    const server = new FakeLabels();
    const list = new LabelList(server);
    await list.load();
    await Promise.all([list.change(addLabel("a")), list.change(addLabel("b")), list.change(renameLabel("a", "c"), { a: "c" })]);
    expect(server.stored.map(({ name }) => name)).toEqual(["dog", "c", "b"]);
    expect(server.renames.at(-1)).toEqual({ a: "c" });
  });

  test("a change that makes no sense any more is an error, and the next one still works", async () => {
    const server = new FakeLabels();
    const list = new LabelList(server);
    await list.load();
    [server.version, server.stored] = [2, [CAT]];
    await expect(list.change(recolorLabel("dog", "#123456"))).rejects.toThrow("gone");
    await list.change(addLabel("bird"));
    expect(server.stored).toHaveLength(2);
  });
});
