import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Api } from "../src/project/api";
import { Outbox, type Unsaved } from "../src/project/outbox";
import { Sync, type Conflict } from "../src/project/sync";
import type { Annotation } from "../src/project/types";

function annotation(id: string, counts = "a", label: string | null = null): Annotation {
  return {
    id,
    image_id: "i1",
    version: 0,
    segmentation: { size: [4, 4], counts },
    label,
    predicted_iou: 0.9,
    stability_score: 0.95,
    prompt: {},
    source: "interactive",
    bbox: [0, 0, 1, 1],
    area: 1,
  };
}

/** A server with optimistic locking, which can be away, lose answers and be slow. */
class FakeServer {
  readonly rows = new Map<string, Annotation>();
  readonly log: string[] = [];
  away = false;
  /** The request is carried out, but its answer is lost. */
  loseAnswers = 0;
  readonly delays: number[] = [];
  private inFlight = new Map<string, number>();
  overlapped = false;

  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const url = String(input);
    const body = init?.body ? (JSON.parse(String(init.body)) as Annotation) : null;
    const id = /annotations\/([^?]+)/.exec(url)?.[1] ?? body?.id ?? "";
    this.inFlight.set(id, (this.inFlight.get(id) ?? 0) + 1);
    if (this.inFlight.get(id)! > 1) this.overlapped = true;
    await new Promise((done) => setTimeout(done, this.delays.shift() ?? 1));
    this.inFlight.set(id, this.inFlight.get(id)! - 1);
    if (this.away) throw new TypeError("Failed to fetch");
    const answer = this.answer(init?.method ?? "GET", url, id, body);
    this.log.push(`${init?.method} ${id} ${body?.segmentation.counts ?? ""} ${answer.status}`);
    if (this.loseAnswers > 0) {
      this.loseAnswers--;
      throw new TypeError("Failed to fetch");
    }
    return answer;
  };

  private answer(method: string, url: string, id: string, body: Annotation | null): Response {
    const row = this.rows.get(id);
    const reply = (status: number, content: unknown): Response => new Response(JSON.stringify(content), { status });
    if (body?.segmentation.counts === "bad") return reply(422, { detail: "The mask is empty." });
    if (method === "POST") {
      if (row && row.segmentation.counts !== body!.segmentation.counts) return reply(409, { detail: "taken", current: row });
      return row ? reply(200, row) : reply(201, this.write(id, body!, 1));
    }
    const based = method === "PUT" ? body!.version : Number(/version=(\d+)/.exec(url)?.[1]);
    if (!row) return method === "PUT" ? reply(409, { detail: "gone", current: null }) : reply(404, { detail: "gone" });
    if (row.version !== based) return reply(409, { detail: "changed", current: row });
    if (method === "PUT") return reply(200, this.write(id, body!, based + 1));
    this.rows.delete(id);
    return new Response(null, { status: 204 });
  }

  write(id: string, body: Annotation, version: number): Annotation {
    const row = { ...annotation(id), ...body, id, version };
    this.rows.set(id, row);
    return row;
  }
}

class MemoryStorage {
  readonly items = new Map<string, string>();
  get length(): number {
    return this.items.size;
  }
  key = (index: number): string | null => [...this.items.keys()][index] ?? null;
  getItem = (key: string): string | null => this.items.get(key) ?? null;
  setItem = (key: string, value: string): void => void this.items.set(key, value);
  removeItem = (key: string): void => void this.items.delete(key);
}

function setUp(choice: "mine" | "theirs" = "mine", storage = new MemoryStorage(), tab = "tab1") {
  const server = new FakeServer();
  const conflicts: Conflict[] = [];
  const replaced: (Annotation | null)[] = [];
  const refused: string[] = [];
  const outbox = new Outbox("photos", tab, storage, undefined);
  const sync = new Sync(new Api("", server.fetch), outbox, {
    onConflict: async (conflict) => (conflicts.push(conflict), choice),
    onReplaced: (_image, _id, current) => replaced.push(current),
    onRefused: (reason) => refused.push(reason),
  });
  return { server, sync, storage, outbox, conflicts, replaced, refused };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());
const pass = (ms = 100): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe("saving", () => {
  test("an added mask is saved at once, and then nothing is unsaved", async () => {
    const { server, sync, storage } = setUp();
    sync.record({ kind: "add", annotation: annotation("m") });
    expect(sync.status.value.unsaved).toBe(1);
    expect(storage.length).toBe(1);
    await pass();
    expect(server.rows.get("m")?.version).toBe(1);
    expect(sync.status.value).toEqual({ unsaved: 0, offline: false, refused: 0 });
    expect(storage.length).toBe(0);
  });

  test("operations of one annotation arrive in order and one at a time, whatever the network does", async () => {
    const { server, sync } = setUp();
    server.delays.push(50, 1, 30, 1);
    sync.record({ kind: "add", annotation: annotation("m", "one") });
    await pass(5);
    sync.record({ kind: "update", annotation: annotation("m", "two"), before: annotation("m") });
    sync.record({ kind: "update", annotation: annotation("m", "three"), before: annotation("m") });
    await pass(300);
    expect(server.log).toEqual(["POST m one 201", "PUT m three 200"]);
    expect(server.overlapped).toBe(false);
  });

  test("undo and redo of a delete make the annotation anew with its id", async () => {
    const { server, sync } = setUp();
    const mask = annotation("m");
    sync.record({ kind: "add", annotation: mask });
    await pass();
    sync.record({ kind: "remove", annotation: mask });
    await pass();
    expect(server.rows.size).toBe(0);
    sync.record({ kind: "add", annotation: mask });
    await pass();
    expect(server.rows.get("m")?.version).toBe(1);
  });

  test("a mask that is added and removed while the server is away leaves nothing there", async () => {
    const { server, sync } = setUp();
    server.away = true;
    const mask = annotation("m");
    sync.record({ kind: "add", annotation: mask });
    await pass();
    sync.record({ kind: "remove", annotation: mask });
    server.away = false;
    await pass(2000);
    expect(server.rows.size).toBe(0);
    expect(sync.status.value.unsaved).toBe(0);
  });
});

describe("when the server is away", () => {
  test("the state says so, and all is saved when it is back", async () => {
    const { server, sync } = setUp();
    server.away = true;
    for (const id of ["a", "b", "c"]) sync.record({ kind: "add", annotation: annotation(id) });
    await pass(3000);
    expect(sync.status.value).toEqual({ unsaved: 3, offline: true, refused: 0 });
    server.away = false;
    sync.retry();
    await pass();
    expect([...server.rows.keys()].sort()).toEqual(["a", "b", "c"]);
    expect(sync.status.value).toEqual({ unsaved: 0, offline: false, refused: 0 });
  });

  test("a lost answer is asked for again and changes nothing twice", async () => {
    const { server, sync, conflicts } = setUp();
    server.loseAnswers = 1;
    sync.record({ kind: "add", annotation: annotation("m", "one") });
    await pass(5);
    sync.record({ kind: "update", annotation: annotation("m", "two"), before: annotation("m") });
    await pass(2000);
    expect(server.rows.get("m")?.segmentation.counts).toBe("two");
    server.loseAnswers = 1;
    sync.record({ kind: "update", annotation: annotation("m", "three"), before: annotation("m") });
    await pass(2000);
    server.loseAnswers = 1;
    sync.record({ kind: "remove", annotation: annotation("m") });
    await pass(2000);
    expect(server.rows.size).toBe(0);
    expect(conflicts).toEqual([]);
    expect(sync.status.value.unsaved).toBe(0);
  });

  test("a later page saves what a closed one left, and shows it before", async () => {
    const storage = new MemoryStorage();
    const first = setUp("mine", storage, "tab1");
    first.server.away = true;
    first.sync.record({ kind: "add", annotation: annotation("m") });
    const second = setUp("mine", storage, "tab2");
    const left = await second.outbox.adopt();
    expect(left.map(({ id }: Unsaved) => id)).toEqual(["m"]);
    second.sync.resume(left);
    expect(second.sync.merge("i1", []).map(({ id }) => id)).toEqual(["m"]);
    await pass();
    expect(second.server.rows.has("m")).toBe(true);
    expect(storage.length).toBe(0);
  });

  test("what another living tab has yet to save is left to it", async () => {
    const storage = new MemoryStorage();
    new Outbox("photos", "tab1", storage, undefined).keep({ id: "m", imageId: "i1", target: null, base: 1 });
    const locks = { query: async () => ({ held: [{ name: "opensam/unsaved/photos/tab1" }] }), request: vi.fn() };
    const outbox = new Outbox("photos", "tab2", storage, locks as unknown as LockManager);
    expect(await outbox.adopt()).toEqual([]);
    expect(storage.length).toBe(1);
  });
});

describe("two tabs", () => {
  async function changedElsewhere(choice: "mine" | "theirs") {
    const parts = setUp(choice);
    parts.sync.record({ kind: "add", annotation: annotation("m", "one") });
    await pass();
    parts.server.write("m", annotation("m", "theirs"), 2);
    parts.sync.record({ kind: "update", annotation: annotation("m", "mine"), before: annotation("m") });
    await pass();
    return parts;
  }

  test("a conflict shows both, and keeping mine overwrites theirs", async () => {
    const { server, conflicts, sync } = await changedElsewhere("mine");
    expect(conflicts.map(({ mine, theirs }) => [mine?.segmentation.counts, theirs?.segmentation.counts])).toEqual([
      ["mine", "theirs"],
    ]);
    expect(server.rows.get("m")).toMatchObject({ version: 3, segmentation: { counts: "mine" } });
    expect(sync.status.value.unsaved).toBe(0);
  });

  test("taking theirs leaves the server alone and tells the editor", async () => {
    const { server, replaced } = await changedElsewhere("theirs");
    expect(server.rows.get("m")).toMatchObject({ version: 2, segmentation: { counts: "theirs" } });
    expect(replaced.map((current) => current?.segmentation.counts)).toEqual(["theirs"]);
  });

  test("a change of what was deleted elsewhere can make it anew", async () => {
    const { server, sync, conflicts } = setUp("mine");
    sync.merge("i1", [{ ...annotation("m"), version: 4 }]);
    sync.record({ kind: "update", annotation: annotation("m", "mine"), before: annotation("m") });
    await pass();
    expect(conflicts[0]?.theirs).toBeNull();
    expect(server.rows.get("m")?.segmentation.counts).toBe("mine");
  });

  test("what others changed, added or deleted is noticed, own unsaved changes are not", async () => {
    const { server, sync } = setUp();
    const [a, b] = [annotation("a"), annotation("b")].map((one) => ({ ...one, version: 1 })) as [Annotation, Annotation];
    const shown = sync.merge("i1", [a, b]);
    expect(sync.differs(shown, [a, b])).toBe(false);
    expect(sync.differs(shown, [a, { ...b, version: 2 }])).toBe(true);
    expect(sync.differs(shown, [a])).toBe(true);
    expect(sync.differs(shown, [a, b, annotation("c")])).toBe(true);
    server.away = true;
    sync.record({ kind: "add", annotation: annotation("d") });
    expect(sync.differs([...shown, annotation("d")], [a, b])).toBe(false);
  });
});

test("what the server refuses is told once, kept, and can be given up", async () => {
  const { sync, refused, storage } = setUp();
  sync.record({ kind: "add", annotation: annotation("m", "bad") });
  await pass(60_000);
  expect(refused).toEqual(["The mask is empty."]);
  expect(sync.status.value).toEqual({ unsaved: 1, offline: false, refused: 1 });
  expect(storage.length).toBe(1);
  sync.discardRefused();
  expect(sync.status.value.unsaved).toBe(0);
  expect(storage.length).toBe(0);
});
