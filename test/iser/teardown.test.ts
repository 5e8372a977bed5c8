import { afterEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../support/common/manual-clock.js';
import type { DatamoverHandler } from '../../src/iscsi/datamover.js';
import { disconnected } from '../../src/iser/errors.js';
import { Teardown } from '../../src/iser/teardown.js';
import type { SoftDevice } from '../../src/transport/rnic/device.js';
import { WorkStatus } from '../../src/transport/verbs.js';
import { bhsOf, IserBed, Op } from '../support/iser/upper-layer.js';
import { settle } from '../support/waiting.js';

/** A teardown whose steps are written down, and whose drain the test ends. */
class Script {
  readonly steps: string[] = [];
  readonly clock = new ManualClock();
  readonly teardown: Teardown;
  finishDrain: () => void = () => undefined;

  constructor() {
    this.teardown = new Teardown(
      {
        disconnect: () => this.steps.push('disconnect'),
        drain: () => {
          this.steps.push('drain');
          return new Promise((resolve) => (this.finishDrain = resolve));
        },
        deactivateTasks: () => this.steps.push('deactivate'),
        release: () => this.steps.push('release'),
      },
      this.clock,
      5000,
    );
  }

  readonly handler: DatamoverHandler = {
    controlNotify: () => undefined,
    taskByTag: () => null,
    terminateNotify: (error) =>
      this.steps.push(error === null ? 'notify' : `notify ${error.message}`),
  };

  async drain(): Promise<void> {
    this.finishDrain();
    await settle();
  }
}

describe('a teardown', () => {
  it('releases last, when the peer says goodbye after iSCSI was told', async () => {
    const script = new Script();
    script.teardown.handler = script.handler;
    script.teardown.begin(disconnected('x:1', null));
    await script.drain();
    expect(script.steps.slice(0, 3)).toEqual(['disconnect', 'drain', 'deactivate']);
    expect(script.steps[3]).toContain('notify the target at x:1 closed');
    expect(script.steps).toHaveLength(4);
    script.teardown.peerGone();
    expect(script.steps.at(-1)).toBe('release');
    expect(script.teardown.released.isDone).toBe(true);
    expect(script.clock.armedCount).toBe(0);
  });

  it('that is orderly lets what is queued leave before it drains', async () => {
    const script = new Script();
    script.teardown.handler = script.handler;
    script.teardown.begin(null);
    await settle();
    expect(script.steps).toEqual(['disconnect']);
    script.teardown.peerGone();
    script.teardown.peerGone();
    expect(script.steps).toEqual(['disconnect', 'drain']);
    await script.drain();
    expect(script.steps.slice(2)).toEqual(['deactivate', 'notify', 'release']);
  });

  it('releases last, when the peer was gone before iSCSI was told', async () => {
    const script = new Script();
    script.teardown.handler = script.handler;
    script.teardown.peerGone();
    script.teardown.begin(disconnected('x:1', 'pulled'));
    await settle();
    expect(script.steps).toEqual(['drain']);
    await script.drain();
    expect(script.steps).toEqual([
      'drain',
      'deactivate',
      'notify the connection to x:1 was lost: pulled',
      'release',
    ]);
  });

  it('does not release before the queue pair is drained', async () => {
    const script = new Script();
    script.teardown.handler = script.handler;
    script.teardown.begin(disconnected('x:1', null));
    script.teardown.peerGone();
    await settle();
    expect(script.steps).toEqual(['disconnect', 'drain']);
    await script.drain();
    expect(script.steps.at(-1)).toBe('release');
    expect(script.steps.filter((step) => step === 'drain')).toHaveLength(1);
  });

  it('gives up on a peer that does not say goodbye', async () => {
    const script = new Script();
    script.teardown.handler = script.handler;
    script.teardown.begin(null);
    script.clock.advance(4999);
    expect(script.steps).toEqual(['disconnect']);
    script.clock.advance(1);
    await script.drain();
    expect(script.steps.at(-1)).toBe('release');
    script.teardown.peerGone();
    expect(script.steps.filter((step) => step === 'release')).toHaveLength(1);
  });

  it('that nobody listens to releases without notice', async () => {
    const script = new Script();
    script.teardown.peerGone();
    script.teardown.begin(null);
    await script.drain();
    expect(script.steps).toEqual(['drain', 'deactivate', 'release']);
  });

  it('is told to a handler that comes late, outside of its setting', async () => {
    const script = new Script();
    script.teardown.peerGone();
    script.teardown.begin(null);
    await script.drain();
    script.teardown.handler = script.handler;
    expect(script.steps).not.toContain('notify');
    await settle();
    expect(script.steps.filter((step) => step === 'notify')).toHaveLength(1);
  });
});

describe('the end of a connection', () => {
  let bed: IserBed;

  afterEach(() => bed.close());

  function expectNothingLeft(): void {
    expect(bed.connection.state).toBe('down');
    expect(bed.module.connections.size).toBe(0);
    expect(bed.module.deviceCount).toBe(0);
    expect(bed.clock.armedCount).toBe(0);
    expect(deviceOf(bed).regions.count).toBe(0);
  }

  function deviceOf(of: IserBed): SoftDevice {
    return of.connection.rdma.device.rdmaDevice as SoftDevice;
  }

  it('by us tells iSCSI null, once, and leaves nothing', async () => {
    bed = await IserBed.fullFeature();
    for (const [tag, task] of bed.tasks.entries()) bed.upper.read(task, tag, bed.slab, 0, 4096);
    await bed.far.received(8);
    const first = bed.connection.terminate();
    const second = bed.connection.terminate();
    expect(bed.upper.terminateCount).toBe(0);
    await Promise.all([first, second]);
    expect(await bed.upper.ended).toBeNull();
    expect(bed.upper.terminateCount).toBe(1);
    expect(bed.upper.activeAtEnd).toBe(0);
    expect(await bed.far.disconnected).toBeNull();
    expectNothingLeft();
    await bed.connection.terminate();
    expect(bed.upper.terminateCount).toBe(1);
  });

  it.each(['connected', 'loggingIn', 'idle', 'busy'] as const)(
    'by the target while %s tells iSCSI why, once, and leaves nothing',
    async (phase) => {
      bed =
        phase === 'idle' || phase === 'busy'
          ? await IserBed.fullFeature()
          : await IserBed.connected();
      if (phase === 'loggingIn') {
        bed.connection.sendControl(bhsOf(Op.login, 1), new Uint8Array());
        await bed.far.received(1);
      } else if (phase === 'busy') {
        for (const [tag, task] of bed.tasks.entries()) {
          if (tag % 2 === 0) bed.upper.read(task, tag, bed.slab, 0, 4096);
          else bed.upper.writeImmediate(task, tag, bed.slab, 0, 4096);
        }
      }
      bed.far.disconnect();
      expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
      await bed.connection.terminate();
      expect(bed.upper.terminateCount).toBe(1);
      expect(bed.upper.activeAtEnd).toBe(0);
      expectNothingLeft();
    },
  );

  it('by the target before anybody listens is told to who comes', async () => {
    bed = await IserBed.connected();
    bed.far.disconnect();
    await settle();
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-disconnected' });
  });

  it('by removal of the device tells iSCSI so', async () => {
    bed = await IserBed.fullFeature();
    bed.connection.rdma.id.onEvent({ type: 'deviceRemoval' });
    expect(await bed.upper.ended).toMatchObject({ code: 'iser-device-removed' });
    await bed.connection.terminate();
    expectNothingLeft();
  });

  it('makes every key void: a late RDMA Write touches nothing', async () => {
    bed = await IserBed.fullFeature();
    for (const [tag, task] of bed.tasks.entries()) bed.upper.read(task, tag, bed.slab, 0, 4096);
    const { header } = await bed.far.received(8);
    await bed.connection.terminate();
    const { readStag, readAddressHigh, readAddressLow } = header;
    const late = bed.far.write(readStag, readAddressHigh, readAddressLow, Buffer.alloc(64, 0xff));
    expect(await late).not.toBe(WorkStatus.success);
    expect(bed.slab.bytes.includes(0xff)).toBe(false);
    expectNothingLeft();
  });

  it('lets iSCSI call on while it does not know yet', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    const ended = bed.connection.terminate();
    bed.upper.read(bed.tasks[1]!, 2, bed.slab, 0, 4096);
    bed.connection.sendControl(bhsOf(Op.nopOut, 3), new Uint8Array());
    bed.connection.enterFullFeature();
    bed.upper.finish(1);
    expect(bed.tasks.map((task) => task.isActive).slice(0, 2)).toEqual([false, true]);
    await ended;
    expect(bed.upper.activeAtEnd).toBe(0);
    bed.connection.finishTask(bed.tasks[1]!);
    expectNothingLeft();
  });

  it('in the middle of a batch of PDUs hands up no more of them', async () => {
    bed = await IserBed.fullFeature();
    bed.upper.onPdu = () => void bed.connection.terminate();
    for (let count = 0; count < 5; count++) bed.far.send(bhsOf(Op.nopIn, count));
    await bed.upper.ended;
    await settle();
    expect(bed.upper.pdus).toHaveLength(1);
  });

  it('of one connection does not touch another of the same device', async () => {
    bed = await IserBed.fullFeature();
    const accepted = bed.peer.nextConnection();
    const other = await bed.connect();
    (await accepted).disconnect();
    await other.terminate();
    bed.upper.read(bed.tasks[0]!, 1, bed.slab, 0, 4096);
    bed.respond(await bed.far.received(1), true);
    await bed.upper.received(1);
    expect(bed.connection.state).toBe('up');
  });
});
