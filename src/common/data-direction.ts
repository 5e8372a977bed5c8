/** Which way the data of a command goes, seen from the initiator. */
export const DataDirection = { none: 0, in: 1, out: 2 } as const;
export type DataDirection = (typeof DataDirection)[keyof typeof DataDirection];
