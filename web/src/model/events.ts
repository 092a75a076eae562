/** Server-sent events out of the body of an answer to any request (EventSource can only GET). */

export interface ServerEvent {
  event: string;
  data: string;
}

/** Cuts a stream of text into events; a piece may end anywhere. */
export class EventParser {
  private rest = "";

  push(text: string): ServerEvent[] {
    // A carriage return at the end may be half of a line end: it waits for what comes.
    const whole = this.rest + text;
    const held = whole.endsWith("\r") ? 1 : 0;
    const blocks = whole.slice(0, whole.length - held).replace(/\r\n?/g, "\n").split("\n\n");
    this.rest = blocks.pop()! + (held ? "\r" : "");
    return blocks.map(parseBlock).filter((event) => event !== null);
  }
}

function parseBlock(block: string): ServerEvent | null {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
    if (field === "event") event = value ?? "";
    else if (field === "data") data.push(value ?? "");
  }
  return data.length ? { event, data: data.join("\n") } : null;
}

export async function* readEvents(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<ServerEvent> {
  const parser = new EventParser();
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}
