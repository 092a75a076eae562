/** The labels: what changes are allowed, and a list that two people can change at the same time. */
import { ApiError, type Api, type LabelSet } from "./api";
import { Signal } from "../signal";
import type { Label } from "./types";

/** Told apart by eye, also by most people with colour blindness, on dark and on light pictures. */
export const COLORS = [
  "#e66101",
  "#1f9e89",
  "#c94aa0",
  "#d6b200",
  "#6a5acd",
  "#0096b2",
  "#c83c3c",
  "#6e9628",
  "#8c6239",
  "#7f8c9b",
] as const;

const LONGEST_NAME = 100;
const DIGITS = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
/** How often a change is made again on a list that somebody else has changed. */
const ATTEMPTS = 4;

/** Gives the list as it should be; throws an Error when that makes no sense for this list. */
export type Change = (labels: readonly Label[]) => Label[];

/** Why a name cannot be used, or null. */
export function nameError(labels: readonly Label[], name: string, except?: string): string | null {
  const trimmed = name.trim();
  if (!trimmed) return "A label needs a name.";
  if (trimmed.length > LONGEST_NAME) return `A name has at most ${LONGEST_NAME} letters.`;
  const taken = labels.some((label) => label.name !== except && label.name === trimmed);
  return taken ? `There is already a label “${trimmed}”.` : null;
}

export function addLabel(name: string): Change {
  return (labels) => {
    const error = nameError(labels, name);
    if (error) throw new Error(error);
    return [...labels, { name: name.trim(), color: freeColor(labels), shortcut: freeShortcut(labels) }];
  };
}

export function renameLabel(from: string, to: string): Change {
  return (labels) => {
    const error = nameError(labels, to, from);
    if (error) throw new Error(error);
    return replace(labels, from, (label) => ({ ...label, name: to.trim() }));
  };
}

export function recolorLabel(name: string, color: string): Change {
  return (labels) => replace(labels, name, (label) => ({ ...label, color }));
}

/** A key belongs to one label: another one that has it gives it up. */
export function rekeyLabel(name: string, shortcut: string): Change {
  return (labels) => {
    const freed = labels.map((label) => (shortcut && label.shortcut === shortcut ? { ...label, shortcut: "" } : label));
    return replace(freed, name, (label) => ({ ...label, shortcut }));
  };
}

export function removeLabel(name: string): Change {
  return (labels) => labels.filter((label) => label.name !== name);
}

function replace(labels: readonly Label[], name: string, change: (label: Label) => Label): Label[] {
  if (!labels.some((label) => label.name === name)) throw new Error(`The label “${name}” is gone: somebody deleted it.`);
  return labels.map((label) => (label.name === name ? change(label) : label));
}

/** The colour that is used least, the first of them. */
export function freeColor(labels: readonly Label[]): string {
  const uses = COLORS.map((color) => labels.filter((label) => label.color.toLowerCase() === color).length);
  return COLORS[uses.indexOf(Math.min(...uses))]!;
}

export function freeShortcut(labels: readonly Label[]): string {
  return DIGITS.find((digit) => labels.every(({ shortcut }) => shortcut !== digit)) ?? "";
}

/** Black or white, whichever is easier to read on a colour. */
export function inkOn(color: string): "#000" | "#fff" {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  // Where contrast with black equals contrast with white.
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

export class LabelList {
  readonly labels = new Signal<readonly Label[]>([]);
  private version = 0;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly api: Pick<Api, "labels" | "saveLabels">) {}

  async load(): Promise<void> {
    this.take(await this.api.labels());
  }

  /** Changes the list on the server; when somebody else was quicker, theirs is changed in the same way. */
  change(change: Change, renamed?: Record<string, string>): Promise<void> {
    const done = this.queue.then(() => this.attempt(change, renamed, ATTEMPTS));
    this.queue = done.catch(() => {});
    return done;
  }

  private async attempt(change: Change, renamed: Record<string, string> | undefined, left: number): Promise<void> {
    const wanted = change(this.labels.value);
    try {
      this.take(await this.api.saveLabels(this.version, wanted, renamed));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 409 || left <= 1) throw error;
      const current = error.current as LabelSet | undefined;
      this.take(current?.labels ? current : await this.api.labels());
      await this.attempt(change, renamed, left - 1);
    }
  }

  private take({ version, labels }: LabelSet): void {
    this.version = version;
    if (JSON.stringify(labels) !== JSON.stringify(this.labels.value)) this.labels.set(labels);
  }
}
