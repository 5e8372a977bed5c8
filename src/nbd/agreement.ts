/** The format of transmission replies: one of three families, which the handshake's options choose. */
export type ReplyStyle = 'simple' | 'structured' | 'extended';

const NO_CONTEXTS: readonly number[] = [];

/** What the options of a handshake have agreed on so far. After STARTTLS, a new agreement begins. */
export class Agreement {
  #replyStyle: ReplyStyle = 'simple';
  #contexts = NO_CONTEXTS;
  #contextsExport: string | null = null;

  get replyStyle(): ReplyStyle {
    return this.#replyStyle;
  }

  /** The client can take replies in chunks. */
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

  /** Selects metadata contexts, by id, for the export of that name. They replace the earlier selection. */
  selectContexts(exportName: string, ids: readonly number[]): void {
    this.#contextsExport = exportName;
    this.#contexts = ids;
  }

  /** Drops the selected contexts. SET_META_CONTEXT does so even when it fails. */
  dropContexts(): void {
    this.#contextsExport = null;
    this.#contexts = NO_CONTEXTS;
  }

  /** The contexts selected for an export: none when the last SET_META_CONTEXT was for another name. */
  contextsFor(exportName: string): readonly number[] {
    return exportName === this.#contextsExport ? this.#contexts : NO_CONTEXTS;
  }
}
