/**
 * What is not yet saved, kept in the browser's storage, so that a closed tab loses nothing.
 *
 * One key per annotation and tab. A tab holds a lock while it lives: another one takes over only what tabs left behind
 * that are gone.
 */
import type { Annotation } from "./types";

/** What an annotation should become. */
export interface Unsaved {
  id: string;
  imageId: string;
  /** null: it should be gone. */
  target: Annotation | null;
  /** The version on the server that this follows; 0: none there. */
  base: number;
  /** What was sent and not yet answered: it may have arrived. undefined: nothing. */
  sent?: Annotation | null;
}

type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;
type Locks = Pick<LockManager, "request" | "query">;

export class Outbox {
  private readonly prefix: string;

  constructor(
    project: string,
    private readonly tab: string,
    private readonly storage: Storage,
    private readonly locks: Locks | undefined,
  ) {
    this.prefix = `opensam/unsaved/${encodeURIComponent(project)}/`;
  }

  /** Says that this tab lives, until it ends. */
  hold(): void {
    void this.locks?.request(this.lockName(this.tab), () => new Promise(() => {}));
  }

  /** False when there is no room: then it is only in memory. */
  keep(unsaved: Unsaved): boolean {
    try {
      this.storage.setItem(this.keyOf(this.tab, unsaved.id), JSON.stringify(unsaved));
      return true;
    } catch {
      return false;
    }
  }

  drop(id: string): void {
    this.storage.removeItem(this.keyOf(this.tab, id));
  }

  /** Takes over what tabs left that are gone. */
  async adopt(): Promise<Unsaved[]> {
    const held = (await this.locks?.query())?.held ?? [];
    const alive = new Set([...held.map(({ name }) => name), this.lockName(this.tab)]);
    const adopted: Unsaved[] = [];
    for (const key of this.keys()) {
      const tab = key.slice(this.prefix.length).split("/")[0]!;
      if (alive.has(this.lockName(tab))) continue;
      const unsaved = read(this.storage.getItem(key));
      // Written anew before the old one goes: a crash in between leaves two, and saving twice is harmless.
      if (unsaved && !this.keep(unsaved)) continue;
      this.storage.removeItem(key);
      if (unsaved) adopted.push(unsaved);
    }
    return adopted;
  }

  private keys(): string[] {
    const keys = Array.from({ length: this.storage.length }, (_, index) => this.storage.key(index) ?? "");
    return keys.filter((key) => key.startsWith(this.prefix)).sort();
  }

  private keyOf(tab: string, id: string): string {
    return `${this.prefix}${tab}/${id}`;
  }

  private lockName(tab: string): string {
    return `${this.prefix}${tab}`;
  }
}

/** The browser's storage, or memory where it is switched off. */
export function browserStorage(): Storage {
  try {
    return localStorage;
  } catch {
    const items = new Map<string, string>();
    return {
      get length() {
        return items.size;
      },
      key: (index) => [...items.keys()][index] ?? null,
      getItem: (key) => items.get(key) ?? null,
      setItem: (key, value) => void items.set(key, value),
      removeItem: (key) => void items.delete(key),
    };
  }
}

function read(text: string | null): Unsaved | null {
  try {
    const unsaved = JSON.parse(text ?? "null") as Unsaved | null;
    return unsaved && typeof unsaved.id === "string" && typeof unsaved.imageId === "string" ? unsaved : null;
  } catch {
    return null;
  }
}
