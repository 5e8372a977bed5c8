/** How transmission replies look: one of three families, which the handshake's options choose. */
export type ReplyStyle = 'simple' | 'structured' | 'extended';

const NO_CONTEXTS: readonly number[] = [];

/** What the options of a handshake have agreed on so far. STARTTLS begins a new one. */
export class Agreement {
  #replyStyle: ReplyStyle = 'simple';
  #contexts = NO_CONTEXTS;
  #contextsExport: string | null = null;

  get replyStyle(): ReplyStyle {
    return this.#replyStyle;
  }

  /** The client can take replies with a payload of their own. */
  get hasChunks(): boolean {
    return this.#replyStyle !== 'simple';
  }

  /** STRUCTURED_REPLY. Extended headers take precedence, whichever comes first. */
  useStructuredReplies(): void {
    if (this.#replyStyle === 'simple') this.#replyStyle = 'structured';
  }

  useExtendedHeaders(): void {
    this.#replyStyle = 'extended';
  }

  /** The ids of metadata contexts, for the export that was named like this; they replace the earlier ones. */
  selectContexts(exportName: string, ids: readonly number[]): void {
    this.#contextsExport = exportName;
    this.#contexts = ids;
  }

  /** SET_META_CONTEXT drops what was selected before, even when it fails. */
  dropContexts(): void {
    this.#contextsExport = null;
    this.#contexts = NO_CONTEXTS;
  }

  /** What is selected for an export: nothing when the last SET_META_CONTEXT was for another name. */
  contextsFor(exportName: string): readonly number[] {
    return exportName === this.#contextsExport ? this.#contexts : NO_CONTEXTS;
  }
}
