import { beforeEach, describe, expect, it } from 'vitest';
import { Asc, SenseKey } from '../../../src/scsi/sense.js';
import {
  COMMAND_FORMATS,
  NO_KEY,
  OperationCode,
  PersistentReserveIn,
  PersistentReserveOut,
  ReservationType,
  ScsiStatus,
} from '../../../src/scsi/wire.js';
import type { InitiatorPort } from '../../../src/scsi/wire.js';
import { LogicalUnits } from '../../../src/target/unit/logical-units.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import { Attention } from '../../../src/target/unit/nexus.js';
import type { Nexus } from '../../../src/target/unit/nexus.js';
import { NO_RESERVATIONS } from '../../../src/scsi/reservation-state.js';
import type { Reservations } from '../../../src/scsi/reservation-state.js';
import type { CommandAborter } from '../../../src/target/unit/unit-reservations.js';
import type { ReservationKeeper } from '../../../src/store/reservation-keeper.js';
import { cdb16, execute, ok, refused } from '../../support/target/disk.js';
import type { Outcome } from '../../support/target/disk.js';
import {
  keyOf,
  keysOf,
  reservationOf,
  reserveInCdb,
  reserveOutCommand,
} from '../../support/target/reservations.js';
import type { ReserveOutFields } from '../../support/target/reservations.js';
import { turn } from '../../support/waiting.js';

const {
  register,
  reserve,
  release,
  clear,
  preempt,
  preemptAndAbort,
  registerAndIgnoreExistingKey,
} = PersistentReserveOut;
const { readKeys, readReservation, reportCapabilities, readFullStatus } = PersistentReserveIn;
const {
  writeExclusive,
  exclusiveAccess,
  writeExclusiveRegistrantsOnly,
  exclusiveAccessRegistrantsOnly,
  writeExclusiveAllRegistrants,
  exclusiveAccessAllRegistrants,
} = ReservationType;
const BLOCK = 512;

/** A file store as far as reservations are concerned: what is kept, and when the keeping ends. */
class TestKeeper implements ReservationKeeper {
  kept: Reservations | null = null;
  readonly states: Reservations[] = [];
  isHolding = false;
  error: Error | null = null;
  #held: (() => void)[] = [];

  keep(state: Reservations): Promise<void> {
    this.states.push(state);
    const { error } = this;
    const wait = this.isHolding ? new Promise<void>((resolve) => this.#held.push(resolve)) : null;
    return (wait ?? Promise.resolve()).then(() => {
      if (error !== null) throw error;
    });
  }

  letGo(): void {
    for (const resolve of this.#held.splice(0)) resolve();
  }
}

class KeepingStore extends MemoryStore {
  constructor(readonly keeper: TestKeeper | null) {
    super({ sizeBytes: 256 * BLOCK });
  }

  override get reservationKeeper(): never {
    return this.keeper as never;
  }
}

const portOf = (name: string): InitiatorPort => ({
  initiatorName: `iqn.2026-11.io.example:${name}`,
  isidHigh: 0x4000_0000,
  isidLow: 7,
});

let units: LogicalUnits;
let keeper: TestKeeper;
/** Logged-in initiators by name; their keys are their names. */
let nexuses: Map<string, Nexus>;

function logIn(name: string): Nexus {
  const [nexus] = units.enter(portOf(name));
  if (nexus === undefined) throw new Error('no LUN');
  nexus.takeAttention();
  nexuses.set(name, nexus);
  return nexus;
}

function begin(hasKeeper = true): void {
  units = new LogicalUnits('iqn.2026-11.io.example:t', [
    new KeepingStore(hasKeeper ? keeper : null),
  ]);
  nexuses = new Map();
  for (const name of ['a', 'b', 'c']) logIn(name);
}

beforeEach(() => {
  keeper = new TestKeeper();
  begin();
});

const nexusOf = (name: string): Nexus => nexuses.get(name) ?? logIn(name);

const send = (
  name: string,
  cdb: readonly number[],
  dataOut: Buffer = Buffer.alloc(0),
): Promise<Outcome> => execute(units, cdb, { dataOut, nexus: nexusOf(name) });

const out = (name: string, action: number, fields: ReserveOutFields = {}): Promise<Outcome> => {
  const { cdb, list } = reserveOutCommand(action, { key: keyOf(name), ...fields });
  return send(name, cdb, list);
};

const registerAll = async (...names: string[]): Promise<void> => {
  for (const name of names) {
    ok(await out(name, register, { key: NO_KEY, serviceActionKey: keyOf(name) }));
  }
};

const reportOf = async (action: number): Promise<Buffer> =>
  ok(await send('c', reserveInCdb(action))).data;

const isConflict = ({ status }: Outcome): boolean => status === ScsiStatus.reservationConflict;

/** What SPC-4 table 65 and SBC-3 table 13 say of each command: through write exclusive, and through exclusive access. */
const TABLE: Readonly<Record<string, readonly [boolean, boolean]>> = {
  'TEST UNIT READY': [true, true],
  'REQUEST SENSE': [true, true],
  'READ(6)': [true, false],
  'WRITE(6)': [false, false],
  INQUIRY: [true, true],
  'MODE SELECT(6)': [false, false],
  'MODE SENSE(6)': [true, false],
  'START STOP UNIT': [true, true],
  'SEND DIAGNOSTIC': [false, false],
  'READ CAPACITY(10)': [true, true],
  'READ(10)': [true, false],
  'WRITE(10)': [false, false],
  'VERIFY(10)': [true, false],
  'PRE-FETCH(10)': [true, false],
  'SYNCHRONIZE CACHE(10)': [false, false],
  'WRITE SAME(10)': [false, false],
  UNMAP: [false, false],
  'LOG SENSE': [true, true],
  'MODE SELECT(10)': [false, false],
  'MODE SENSE(10)': [true, false],
  'READ(16)': [true, false],
  'COMPARE AND WRITE': [false, false],
  'WRITE(16)': [false, false],
  'VERIFY(16)': [true, false],
  'PRE-FETCH(16)': [true, false],
  'SYNCHRONIZE CACHE(16)': [false, false],
  'WRITE SAME(16)': [false, false],
  'READ CAPACITY(16)': [true, true],
  'GET LBA STATUS': [true, false],
  'REPORT LUNS': [true, true],
  'REPORT TARGET PORT GROUPS': [true, true],
  'REPORT SUPPORTED OPERATION CODES': [true, false],
  'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS': [true, false],
  'READ(12)': [true, false],
  'WRITE(12)': [false, false],
};

/** CDBs of the commands that have no rules of their own; START STOP UNIT with START. */
const COMMANDS = COMMAND_FORMATS.filter(({ name }) => !/RESERVE|RELEASE/.test(name)).map(
  ({ name, opcode, serviceAction }): readonly [string, readonly number[]] => [
    name,
    opcode === OperationCode.startStopUnit
      ? [opcode, 0, 0, 0, 1, 0]
      : [opcode, Math.max(0, serviceAction)],
  ],
);

describe.each([
  ['write exclusive', writeExclusive, 0, 'none'],
  ['exclusive access', exclusiveAccess, 1, 'none'],
  ['write exclusive, registrants only', writeExclusiveRegistrantsOnly, 0, 'registered'],
  ['exclusive access, registrants only', exclusiveAccessRegistrantsOnly, 1, 'registered'],
  ['write exclusive, all registrants', writeExclusiveAllRegistrants, 0, 'registered'],
  ['exclusive access, all registrants', exclusiveAccessAllRegistrants, 1, 'registered'],
] as const)('a reservation of type %s', (_name, type, column, lets) => {
  beforeEach(async () => {
    await registerAll('a', 'b');
    ok(await out('a', reserve, { type }));
  });

  it('lets each command through or not, as the standards have it', async () => {
    for (const [name, cdb] of COMMANDS) {
      const rule = TABLE[name]?.[column];
      const isKeptOut = async (who: string) => isConflict(await send(who, cdb, Buffer.alloc(8192)));
      expect([name, await isKeptOut('a')]).toEqual([name, false]);
      expect([name, await isKeptOut('c')]).toEqual([name, rule === false]);
      const isRegisteredOut = lets === 'registered' ? false : rule === false;
      expect([name, await isKeptOut('b')]).toEqual([name, isRegisteredOut]);
    }
    // Stopping the unit is another thing than starting it.
    expect(isConflict(await send('c', [0x1b, 0, 0, 0, 0, 0]))).toBe(true);
  });

  it('lets PERSISTENT RESERVE OUT through from who is registered, but for what would take it', async () => {
    const others = { serviceActionKey: keyOf('9') };
    for (const action of [reserve, release, clear, preempt, preemptAndAbort]) {
      expect(isConflict(await out('c', action, others))).toBe(true);
    }
    // A holder's RESERVE changes nothing.
    expect(isConflict(await out('b', reserve, { type }))).toBe(type < 7);
    ok(await out('b', release, { type: type < 7 ? 15 : type }));
    expect(reservationOf(await reportOf(readReservation))).toEqual(
      type < 7 ? { key: keyOf('a'), type } : null,
    );
    await registerAll('c');
    ok(await out('b', registerAndIgnoreExistingKey, { serviceActionKey: keyOf('d') }));
    ok(await out('b', clear, { key: keyOf('d') }));
  });

  it('and the commands of who is preempted end in a conflict from then on', async () => {
    ok(await send('a', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)));
    const serviceActionKey = type < 7 ? keyOf('a') : NO_KEY;
    ok(await out('b', preempt, { serviceActionKey, type }));
    refused(await send('a', [0]), Asc.registrationsPreempted, SenseKey.unitAttention);
    expect(isConflict(await send('a', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)))).toBe(true);
    ok(await send('b', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)));
  });

  it('survives the end of its session, a reset, and holds for whoever logs in anew', async () => {
    units.leave([nexusOf('a')]);
    units.disks[0]?.reservations.reset();
    nexuses.delete('a');
    expect(isConflict(await send('c', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)))).toBe(true);
    expect(isConflict(await send('d', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)))).toBe(true);
    ok(await send('a', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)));
  });
});

describe('the table of commands', () => {
  it('covers every command', () => {
    expect(COMMANDS.map(([name]) => name).sort()).toEqual(Object.keys(TABLE).sort());
  });
});

describe('PERSISTENT RESERVE IN', () => {
  it('tells keys, reservation and full status, cut at the allocation length', async () => {
    expect(keysOf(await reportOf(readKeys))).toEqual([]);
    expect(reservationOf(await reportOf(readReservation))).toBeNull();
    await registerAll('a');
    ok(await out('b', register, { key: NO_KEY, serviceActionKey: keyOf('b'), flags: 4 }));
    expect(keysOf(await reportOf(readKeys))).toEqual([keyOf('a'), keyOf('b')]);
    ok(await out('a', reserve, { type: exclusiveAccess }));
    expect(reservationOf(await reportOf(readReservation))).toEqual({
      key: keyOf('a'),
      type: exclusiveAccess,
    });
    const status = await reportOf(readFullStatus);
    expect(status.readUInt32BE(0)).toBe(2);
    expect(status.readUInt32BE(4)).toBe(status.length - 8);
    const [first, second] = [status.subarray(8), status.subarray(8 + 24 + status.readUInt32BE(28))];
    expect(first.subarray(0, 8).toString('hex')).toBe(keyOf('a'));
    expect([first[12], first[13], first.readUInt16BE(18)]).toEqual([1, exclusiveAccess, 1]);
    expect(first.subarray(24).toString()).toContain('iqn.2026-11.io.example:a,i,0x400000000007\0');
    expect([second[12], second[13]]).toEqual([2, 0]);
    const short = ok(await send('c', reserveInCdb(readKeys, 12))).data;
    expect(short).toHaveLength(12);
    expect(short.readUInt32BE(4)).toBe(16);
    expect(ok(await send('c', reserveInCdb(readKeys, 0))).data).toHaveLength(0);
  });

  it('gives no key for what all registrants hold', async () => {
    await registerAll('a', 'b');
    ok(await out('a', reserve, { type: writeExclusiveAllRegistrants }));
    expect(reservationOf(await reportOf(readReservation))).toEqual({
      key: NO_KEY,
      type: writeExclusiveAllRegistrants,
    });
    const status = await reportOf(readFullStatus);
    expect([status[8 + 12], status[8 + 24 + status.readUInt32BE(28) + 12]]).toEqual([1, 1]);
  });

  it('tells what can be done, and whether a power loss is survived', async () => {
    expect((await reportOf(reportCapabilities)).toString('hex')).toBe('00081db0ea010000');
    ok(await out('a', register, { key: NO_KEY, serviceActionKey: keyOf('a'), flags: 1 }));
    expect((await reportOf(reportCapabilities)).toString('hex')).toBe('00081db1ea010000');
    begin(false);
    expect((await reportOf(reportCapabilities)).toString('hex')).toBe('00081cb0ea010000');
  });
});

describe('a PERSISTENT RESERVE OUT', () => {
  it('with a list that is not 24 bytes is refused, whatever it asks', async () => {
    const { cdb, list } = reserveOutCommand(register, { serviceActionKey: keyOf('a') });
    for (const length of [0, 8, 23, 25, 28, 8192, 8193]) {
      const bytes = Buffer.alloc(length);
      list.copy(bytes);
      const asked = [...cdb.slice(0, 5), 0, 0, length >> 8, length & 0xff, 0];
      refused(await send('a', asked, bytes), Asc.parameterListLengthError);
    }
    expect(keysOf(await reportOf(readKeys))).toEqual([]);
  });

  it('registers the ports that SPEC_I_PT names, and no name that no initiator can have', async () => {
    const id = (name: string): Buffer => {
      const length = (4 + name.length + 4) & ~3;
      const bytes = Buffer.alloc(length);
      bytes.writeUInt32BE(0x4500_0000 | (length - 4));
      bytes.write(name, 4);
      return bytes;
    };
    const behind = (name: string): Buffer => {
      const bytes = id(name);
      return Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes]);
    };
    const fields = { key: NO_KEY, serviceActionKey: keyOf('a'), flags: 8 };
    const long = `iqn.2026-11.io.example:${'x'.repeat(201)},i,0x1`;
    const refusedOnes = [behind(long), behind('nobody'), Buffer.alloc(0)];
    for (const list of refusedOnes) {
      refused(
        await out('a', register, { ...fields, behind: list }),
        Asc.invalidFieldInParameterList,
      );
    }
    ok(
      await out('a', register, {
        ...fields,
        behind: behind('iqn.2026-11.io.example:b,i,0x400000000007'),
      }),
    );
    ok(await out('b', reserve, { key: keyOf('a'), type: writeExclusive }));
  });

  it('by nobody in particular is a conflict', async () => {
    const { cdb, list } = reserveOutCommand(register, { serviceActionKey: keyOf('a') });
    expect(isConflict(await execute(units, cdb, { dataOut: list }))).toBe(true);
  });

  it('tells the others of what it did with their next command, the most urgent first', async () => {
    await registerAll('a', 'b');
    ok(await out('a', reserve, { type: writeExclusiveRegistrantsOnly }));
    ok(await out('a', release, { type: writeExclusiveRegistrantsOnly }));
    ok(await out('a', preempt, { serviceActionKey: keyOf('b') }));
    nexusOf('b').establish(Attention.reset);
    const { unitAttention } = SenseKey;
    refused(await send('b', [0]), Asc.deviceReset, unitAttention);
    refused(await send('b', [0]), Asc.registrationsPreempted, unitAttention);
    refused(await send('b', [0]), Asc.reservationsReleased, unitAttention);
    ok(await send('b', [0]));
    await registerAll('b');
    ok(await out('a', clear));
    refused(await send('b', [0]), Asc.reservationsPreempted, unitAttention);
    ok(await send('a', [0]));
  });
});

describe('reservations that outlast a power loss', () => {
  const persist = { flags: 1 };

  it('are kept before they are answered, and nothing of them is there before', async () => {
    keeper.isHolding = true;
    let isAnswered = false;
    const registered = out('a', register, {
      key: NO_KEY,
      serviceActionKey: keyOf('a'),
      ...persist,
    }).then((outcome) => {
      isAnswered = true;
      return outcome;
    });
    await Promise.resolve();
    expect(keysOf(await reportOf(readKeys))).toEqual([]);
    expect(isAnswered).toBe(false);
    // Meanwhile others wait their turn, and RESERVE(6) does not slip in between.
    const second = out('a', reserve, { type: exclusiveAccess });
    expect(isConflict(await send('b', [0x16, 0, 0, 0, 0, 0]))).toBe(true);
    keeper.letGo();
    ok(await registered);
    keeper.letGo();
    await turn();
    keeper.letGo();
    ok(await second);
    expect(keeper.states.map(({ reservation }) => reservation?.type ?? null)).toEqual([
      null,
      exclusiveAccess,
    ]);
  });

  it('are not changed by what could not be kept', async () => {
    ok(await out('a', register, { key: NO_KEY, serviceActionKey: keyOf('a'), ...persist }));
    keeper.error = new Error('no space');
    const failed = await out('a', reserve, { type: exclusiveAccess });
    refused(failed, Asc.internalTargetFailure, SenseKey.hardwareError);
    expect(reservationOf(await reportOf(readReservation))).toBeNull();
    ok(await send('b', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)));
    keeper.error = null;
    ok(await out('a', reserve, { type: exclusiveAccess }));
    expect(isConflict(await send('b', cdb16(0x8a, 0, 0, 1), Buffer.alloc(BLOCK)))).toBe(true);
  });

  it('are kept no more once a registration says so, nor written for what changes nothing', async () => {
    await registerAll('a');
    expect(keeper.states).toHaveLength(0);
    ok(await out('a', register, { serviceActionKey: keyOf('a'), ...persist }));
    ok(await out('a', reserve, { type: writeExclusive }));
    ok(await out('a', reserve, { type: writeExclusive }));
    expect(keeper.states).toHaveLength(2);
    ok(await out('a', register, { serviceActionKey: keyOf('a') }));
    expect(keeper.states.at(-1)?.persists).toBe(false);
    ok(await out('a', release, { type: writeExclusive }));
    expect(keeper.states).toHaveLength(3);
  });

  it('hold from the start for who was registered before', async () => {
    ok(await out('a', register, { key: NO_KEY, serviceActionKey: keyOf('a'), ...persist }));
    ok(await out('a', reserve, { type: exclusiveAccess }));
    keeper.kept = { ...(keeper.states.at(-1) ?? NO_RESERVATIONS), generation: 0 };
    begin();
    expect(isConflict(await send('b', cdb16(0x88, 0, 0, 1)))).toBe(true);
    ok(await send('a', cdb16(0x88, 0, 0, 1)));
    expect((await reportOf(readKeys)).readUInt32BE(0)).toBe(0);
    expect(keysOf(await reportOf(readKeys))).toEqual([keyOf('a')]);
  });
});

describe('PREEMPT AND ABORT', () => {
  it('is answered when all that it aborts has ended, and not before', async () => {
    await registerAll('a', 'b');
    ok(await out('a', reserve, { type: writeExclusive }));
    let ended: () => void = () => undefined;
    const meant: boolean[] = [];
    const abort: CommandAborter = (isMeant, end) => {
      ended = end;
      for (const name of ['a', 'b', 'c']) meant.push(isMeant({ nexus: nexusOf(name) } as never));
      end();
      return 2;
    };
    units.disks[0]!.reservations.abortCommands = abort;
    let isAnswered = false;
    const preempted = out('b', preemptAndAbort, {
      serviceActionKey: keyOf('a'),
      type: writeExclusive,
    }).then((outcome) => {
      isAnswered = true;
      return outcome;
    });
    await turn();
    expect([isAnswered, meant]).toEqual([false, [true, false, false]]);
    // It has taken effect all the same: new commands of the loser are kept out.
    expect(reservationOf(await reportOf(readReservation))?.key).toBe(keyOf('b'));
    ended();
    ok(await preempted);
  });

  it('does not let what it aborts register again behind it', async () => {
    await registerAll('b');
    ok(await out('a', register, { key: NO_KEY, serviceActionKey: keyOf('a'), flags: 1 }));
    keeper.isHolding = true;
    const commands: { isAborted: boolean; nexus: Nexus | null }[] = [];
    units.disks[0]!.reservations.abortCommands = (isMeant) => {
      for (const command of commands) if (isMeant(command as never)) command.isAborted = true;
      return 0;
    };
    const execution = units.disks[0]!.reservations;
    const original = execution.execute.bind(execution);
    execution.execute = (command) => {
      commands.push(command);
      original(command);
    };
    const preempted = out('b', preemptAndAbort, { serviceActionKey: keyOf('a') });
    const late = out('a', registerAndIgnoreExistingKey, { serviceActionKey: keyOf('e') });
    keeper.letGo();
    ok(await preempted);
    keeper.isHolding = false;
    await late;
    expect(keysOf(await reportOf(readKeys))).toEqual([keyOf('b')]);
  });
});

describe('RESERVE and RELEASE of SPC-2', () => {
  const take = (name: string, cdb = [0x16, 0, 0, 0, 0, 0]) => send(name, cdb);
  const giveBack = (name: string, cdb = [0x17, 0, 0, 0, 0, 0]) => send(name, cdb);

  it.each([
    ['(6)', [0x16, 0, 0, 0, 0, 0], [0x17, 0, 0, 0, 0, 0]],
    ['(10)', [0x56, ...Array<number>(9).fill(0)], [0x57, ...Array<number>(9).fill(0)]],
  ])(
    '%s keep all others out of all but what tells who is there',
    async (_form, reserveCdb, releaseCdb) => {
      ok(await take('a', reserveCdb));
      ok(await take('a', reserveCdb));
      expect(isConflict(await take('b', reserveCdb))).toBe(true);
      const open = [
        'INQUIRY',
        'REQUEST SENSE',
        'REPORT LUNS',
        'LOG SENSE',
        'READ CAPACITY(10)',
        'READ CAPACITY(16)',
      ];
      for (const [name, cdb] of COMMANDS) {
        const isKeptOut = isConflict(await send('b', cdb, Buffer.alloc(8192)));
        expect([name, isKeptOut]).toEqual([name, !open.includes(name)]);
        expect(isConflict(await send('a', cdb, Buffer.alloc(8192)))).toBe(false);
      }
      ok(await giveBack('b', releaseCdb));
      expect(isConflict(await send('b', [0]))).toBe(true);
      ok(await giveBack('a', releaseCdb));
      ok(await send('b', [0]));
    },
  );

  it('and persistent reservations exclude each other', async () => {
    ok(await take('a'));
    for (const name of ['a', 'b']) {
      expect(isConflict(await send(name, reserveInCdb(readKeys)))).toBe(true);
      const registered = out(name, register, { key: NO_KEY, serviceActionKey: keyOf(name) });
      expect(isConflict(await registered)).toBe(true);
    }
    ok(await giveBack('a'));
    await registerAll('a');
    for (const name of ['a', 'b']) {
      expect(isConflict(await take(name))).toBe(true);
      expect(isConflict(await giveBack(name))).toBe(true);
    }
  });

  it('succeed and do nothing for who has access by a persistent one already', async () => {
    await registerAll('a', 'b');
    for (const [type, alsoB] of [
      [exclusiveAccess, false],
      [exclusiveAccessRegistrantsOnly, true],
      [exclusiveAccessAllRegistrants, true],
    ] as const) {
      ok(await out('a', reserve, { type }));
      for (const act of [take, giveBack]) {
        ok(await act('a'));
        expect(isConflict(await act('b'))).toBe(!alsoB);
        expect(isConflict(await act('c'))).toBe(true);
      }
      expect(reservationOf(await reportOf(readReservation))?.type).toBe(type);
      ok(await out('a', release, { type }));
      nexusOf('b').takeAttention();
    }
  });

  it('end with the session, and with a reset', async () => {
    ok(await take('a'));
    units.leave([nexusOf('a')]);
    ok(await send('b', [0]));
    ok(await take('b'));
    units.disks[0]?.reservations.reset();
    ok(await send('c', [0]));
    ok(await take('c'));
  });

  it('know no third parties and no extents', async () => {
    for (const flags of [0x01, 0x10]) {
      refused(await take('a', [0x16, flags, 0, 0, 0, 0]), Asc.invalidFieldInCdb);
      refused(await giveBack('a', [0x57, flags, 0, 0, 0, 0]), Asc.invalidFieldInCdb);
    }
    refused(await take('a', [0x56, 0x02, 0, 0, 0, 0]), Asc.invalidFieldInCdb);
  });
});
