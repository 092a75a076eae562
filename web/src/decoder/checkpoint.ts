/** Weights in a safetensors file: a header in JSON, then the values. */

export interface Entry {
  shape: number[];
  data_offsets: [number, number];
}

export interface Header {
  tensors: Record<string, Entry>;
  facts: Record<string, string>;
}

export class Checkpoint {
  private readonly values: ArrayBuffer;

  private constructor(
    readonly header: Header,
    file: ArrayBuffer,
    private readonly start: number,
  ) {
    this.values = file;
  }

  /** @throws when the file is none, or not all there */
  static read(file: ArrayBuffer): Checkpoint {
    const problem = new Error("The decoder's weights are damaged; reload the page.");
    if (file.byteLength < 8) throw problem;
    const length = Number(new DataView(file).getBigUint64(0, true));
    if (8 + length > file.byteLength) throw problem;
    const { __metadata__: facts, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length))) as Record<
      string,
      Entry
    > & { __metadata__: Record<string, string> };
    const end = Math.max(...Object.values(tensors).map(({ data_offsets: [, last] }) => last));
    if (8 + length + end > file.byteLength) throw problem;
    return new Checkpoint({ tensors, facts }, file, 8 + length);
  }

  tensor(name: string): Float32Array {
    const { data_offsets: [from, to] } = entryOf(this.header, name);
    // Copied: the values need not begin at a multiple of four.
    return new Float32Array(this.values.slice(this.start + from, this.start + to));
  }
}

export function entryOf(header: Header, name: string): Entry {
  const entry = header.tensors[name];
  if (!entry) throw new Error(`The decoder's weights lack ${name}; restart the server.`);
  return entry;
}
