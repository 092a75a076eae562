/** Undo and redo without limit. A state never changes, so a step keeps it as it was; steps share what they can. */
export class History<State> {
  private states: State[];
  private at = 0;

  /** @param shed makes a state that lies long past smaller; it is given every state once, `keep` steps later */
  constructor(
    first: State,
    private readonly shed: (state: State) => State = (state) => state,
    private readonly keep = 64,
  ) {
    this.states = [first];
  }

  get current(): State {
    return this.states[this.at]!;
  }

  get canUndo(): boolean {
    return this.at > 0;
  }

  get canRedo(): boolean {
    return this.at < this.states.length - 1;
  }

  /** A new step; what could be redone is gone. */
  push(state: State): void {
    this.states.length = this.at + 1;
    this.states.push(state);
    this.at++;
    const old = this.at - this.keep;
    if (old >= 0) this.states[old] = this.shed(this.states[old]!);
  }

  /** Another state in place of the current one: a result that belongs to the step already made. */
  amend(state: State): void {
    this.states[this.at] = state;
  }

  /** The same change to every step, as if it had always been so. */
  rewrite(change: (state: State) => State): void {
    this.states = this.states.map(change);
  }

  undo(): State {
    if (this.canUndo) this.at--;
    return this.current;
  }

  redo(): State {
    if (this.canRedo) this.at++;
    return this.current;
  }
}
