/** Threads that run the same program over one memory, each on its share of the tiles, and wait for each other. */

/** Words of the control block: how many have arrived, and how often all of them had. */
const ARRIVED = 0;
const ROUND = 1;
export const CONTROL_BYTES = 64;

/** About 50 microseconds; after that a thread sleeps. */
const SPINS = 5000;
const LONGEST_MS = 20_000;

export class Team {
  private readonly control: Int32Array;

  /**
   * @param number of this thread
   * @param size how many there are
   * @param control where the control block lies in the shared memory
   */
  constructor(
    readonly number: number,
    readonly size: number,
    memory: WebAssembly.Memory,
    control: number,
  ) {
    this.control = new Int32Array(memory.buffer, control, 2);
  }

  /** Goes on when all threads are here; what they wrote before is then seen by all. */
  meet(): void {
    if (this.size === 1) return;
    const { control } = this;
    const round = Atomics.load(control, ROUND);
    if (Atomics.add(control, ARRIVED, 1) === this.size - 1) {
      Atomics.store(control, ARRIVED, 0);
      Atomics.add(control, ROUND, 1);
      Atomics.notify(control, ROUND);
      return;
    }
    for (let spin = 0; spin < SPINS; spin++) if (Atomics.load(control, ROUND) !== round) return;
    const awaited = Atomics.wait(control, ROUND, round, LONGEST_MS);
    if (awaited === "timed-out") throw new Error("A thread of the decoder has stopped; reload the page.");
  }
}
