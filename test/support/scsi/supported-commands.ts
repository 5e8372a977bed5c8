/** One command of REPORT SUPPORTED OPERATION CODES; `serviceAction` is -1 where the opcode is the whole command. */
export interface SupportedCommand {
  readonly opcode: number;
  readonly serviceAction: number;
}

/** The commands in `length` received bytes of the format for all; a timeouts descriptor (CTDP) is 12 bytes more. */
export function decodeAllCommands(
  view: DataView,
  offset: number,
  length: number,
): SupportedCommand[] {
  const commands: SupportedCommand[] = [];
  if (length < 4) return commands;
  const end = Math.min(length, 4 + view.getUint32(offset));
  for (let at = 4; at + 8 <= end;) {
    const flags = view.getUint8(offset + at + 5);
    commands.push({
      opcode: view.getUint8(offset + at),
      serviceAction: (flags & 1) !== 0 ? view.getUint16(offset + at + 2) : -1,
    });
    at += (flags & 2) !== 0 ? 20 : 8;
  }
  return commands;
}
