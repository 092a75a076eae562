import { expect, test } from "vitest";
import { EventParser, readEvents } from "../src/model/events";

const STREAM = 'event: progress\r\ndata: {"done":1}\r\n\r\n: a comment\n\nevent: result\ndata: one\ndata:two\n\ndata: bare\n\nevent: empty\n\n';
const EVENTS = [
  { event: "progress", data: '{"done":1}' },
  { event: "result", data: "one\ntwo" },
  { event: "message", data: "bare" },
];

test("events are the same however the stream is cut", () => {
  for (let size = 1; size <= STREAM.length; size++) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < STREAM.length; at += size) found.push(...parser.push(STREAM.slice(at, at + size)));
    expect(found).toEqual(EVENTS);
  }
});

test("a stream of bytes may be cut inside a letter", async () => {
  const bytes = new TextEncoder().encode("data: Ärger\n\n");
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  for await (const event of readEvents(body)) found.push(event);
  expect(found).toEqual([{ event: "message", data: "Ärger" }]);
});
