/** What goes over the wire, as Wireshark reads it. */
import { beforeAll, describe, expect, it } from 'vitest';
import { fioInGuest } from './guest-tools.js';
import { fioVerify } from './host-tools.js';
import { Capture } from './lab/capture.js';
import { reframe } from './lab/fpdu-capture.js';
import { ISCSI_PORT } from '../../src/iscsi/portal.js';
import { HOST_SEEN_FROM_GUEST } from './lab/guest.js';
import { LioTarget } from './lab/lio.js';
import { OpenIscsi } from './lab/open-iscsi.js';
import { addSoftIwarp } from './lab/soft-iwarp.js';
import { describeWithGuest } from './suite.js';

const NAME = 'iqn.2026-11.io.example:wire';
const CAPTURE = 'wire.pcap';

describeWithGuest(
  'the wire',
  (files) => ({ captureFile: files.path(CAPTURE) }),
  (suite) => {
    let ourTargetPort = 0;

    beforeAll(async () => {
      await addSoftIwarp(suite.guest);
    });

    it('carries our initiator to LIO', async () => {
      const lio = await LioTarget.create(suite.guest, {
        name: NAME,
        luns: [{ kind: 'ramdisk', mib: 16 }],
      });
      for (const query of ['', '?crc=on']) {
        const [uri = ''] = await suite.start(
          ['serve', '--listen', '127.0.0.1:0', '--export', `lun=${lio.url(0, query)}`],
          1,
        );
        await fioVerify(uri, '--bsrange=512-32k', '--blockalign=512', '--iodepth=1', '--size=2M');
        await suite.stopPrograms();
      }
    });

    it("carries Linux's initiator to our target", async () => {
      const { guest } = suite;
      const [url = ''] = await suite.start(
        ['target', '--listen', '127.0.0.1:0', '--name', NAME, '--lun', 'memory:16M'],
        1,
      );
      ourTargetPort = Number(new URL(url.replace(/^iser:/, 'http:')).port);
      const initiator = await OpenIscsi.start(guest);
      const at = { name: NAME, portal: `${HOST_SEEN_FROM_GUEST}:${ourTargetPort}` };
      await initiator.discover(at.portal);
      await initiator.add(at);
      const [disk = ''] = await initiator.login(at, 1);
      await fioInGuest(guest, disk, '--bsrange=512-32k', '--blockalign=512', '--size=2M');
      await initiator.logout(at);
    });

    describe('read by Wireshark', () => {
      let capture: Capture;

      beforeAll(async () => {
        await suite.guest.stop();
        const framed = suite.files.path('framed.pcap');
        reframe(suite.files.path(CAPTURE), framed, [ISCSI_PORT, ourTargetPort]);
        capture = new Capture(framed);
      });

      it.each<[string, () => number]>([
        ['our initiator and LIO', () => ISCSI_PORT],
        ["Linux's initiator and our target", () => ourTargetPort],
      ])('has only well-formed iWARP and iSCSI: %s', async (_who, port) => {
        const ours = `tcp.port == ${port()} &&`;
        for (const kind of [
          ...['iwarp_mpa.req', 'iwarp_mpa.rep', 'iwarp_rdma.opcode == 0', 'iwarp_rdma.opcode == 1'],
          ...['iwarp_rdma.opcode == 2', 'iscsi.opcode == 0x03', 'iscsi.opcode == 0x23'],
          ...['iscsi.opcode == 0x01', 'iscsi.opcode == 0x21', 'iscsi.opcode == 0x06'],
        ]) {
          expect(await capture.frames(`${ours} ${kind}`), kind).not.toHaveLength(0);
        }
        for (const fault of [
          ...['_ws.malformed', '_ws.expert.severity == "Error"', 'tcp.len > 0 && !iwarp_mpa'],
          ...['iwarp_rdma.opcode == 7', 'iscsi.opcode == 0x3f'],
        ]) {
          expect(await capture.frames(`${ours} ${fault}`), fault).toEqual([]);
        }
      });
    });
  },
);
