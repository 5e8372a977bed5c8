import { describe, expect, it } from 'vitest';
import { mayUse } from '../../src/nbd/access.js';
import { visibleExports } from '../../src/nbd/visible-exports.js';
import type { AccessRule, Peer } from '../../src/nbd/access.js';
import { certificateNames } from '../../src/nbd/certificate-names.js';
import { NbdExport, fixedExports } from '../../src/nbd/export.js';
import { parseNetwork } from '../../src/nbd/network.js';
import { RamDevice } from '../support/nbd/device.js';

const ANYBODY: AccessRule = { certificates: null, psk: null, networks: null };
const STRANGER: Peer = { address: '198.51.100.1', certificateNames: [], pskIdentity: null };
const ALICE: Peer = { ...STRANGER, certificateNames: ['alice', 'alice.example'] };
const CAROL: Peer = { ...STRANGER, pskIdentity: 'carol' };
const LAN = [parseNetwork('192.0.2.0/24')];

describe('a rule', () => {
  it.each<[string, AccessRule | null, Peer, boolean]>([
    ['none lets everybody in', null, STRANGER, true],
    ['without lists lets everybody in', ANYBODY, STRANGER, true],
    [
      'of certificates: any name of it',
      { ...ANYBODY, certificates: ['alice.example'] },
      ALICE,
      true,
    ],
    ['of certificates: none of its names', { ...ANYBODY, certificates: ['bob'] }, ALICE, false],
    ['of certificates: no part of a name', { ...ANYBODY, certificates: ['alic'] }, ALICE, false],
    ['of certificates: no other case', { ...ANYBODY, certificates: ['Alice'] }, ALICE, false],
    ['of certificates: no identity', { ...ANYBODY, certificates: ['carol'] }, CAROL, false],
    ['of identities', { ...ANYBODY, psk: ['dave', 'carol'] }, CAROL, true],
    ['of identities: another one', { ...ANYBODY, psk: ['dave'] }, CAROL, false],
    ['of identities: no certificate', { ...ANYBODY, psk: ['alice'] }, ALICE, false],
    ['of identities: nobody', { ...ANYBODY, psk: ['carol'] }, STRANGER, false],
    [
      'of both: either will do',
      { ...ANYBODY, certificates: ['alice'], psk: ['carol'] },
      CAROL,
      true,
    ],
    ['of networks: outside', { ...ANYBODY, networks: LAN }, STRANGER, false],
    [
      'of networks: inside',
      { ...ANYBODY, networks: LAN },
      { ...STRANGER, address: '192.0.2.9' },
      true,
    ],
    [
      'of names and networks: the name alone',
      { ...ANYBODY, psk: ['carol'], networks: LAN },
      CAROL,
      false,
    ],
    [
      'of names and networks: both',
      { ...ANYBODY, psk: ['carol'], networks: LAN },
      { ...CAROL, address: '::ffff:192.0.2.9' },
      true,
    ],
    ['of Unix sockets', { ...ANYBODY, networks: ['unix'] }, { ...STRANGER, address: null }, true],
    [
      'of networks: no Unix socket',
      { ...ANYBODY, networks: LAN },
      { ...STRANGER, address: null },
      false,
    ],
  ])('%s', (_what, rule, peer, isAllowed) => {
    expect(mayUse(rule, peer)).toBe(isAllowed);
  });
});

describe('what a client sees', () => {
  const device = new RamDevice(1024);
  const open = new NbdExport({ name: 'open', device });
  const guarded = new NbdExport({
    name: 'guarded',
    device,
    allow: { ...ANYBODY, certificates: ['alice'] },
  });
  const table = fixedExports([open, guarded], 'guarded');

  it('is everything that its rule lets it use', () => {
    const view = visibleExports(table, ALICE, 'secured');
    expect([...view.list()]).toEqual([open, guarded]);
    expect([view.lookup('open'), view.lookup('guarded'), view.lookup('')]).toEqual([
      open,
      guarded,
      guarded,
    ]);
  });

  it('is nothing else, by name, by default or in a list', () => {
    const view = visibleExports(table, CAROL, 'secured');
    expect([...view.list()]).toEqual([open]);
    expect([view.lookup('open'), view.lookup('guarded'), view.lookup('')]).toEqual([
      open,
      null,
      null,
    ]);
  });

  it('may hold more behind TLS only where TLS is to be had and not there', () => {
    expect(visibleExports(table, STRANGER, 'offered').hasTlsOnly).toBe(true);
    for (const stance of ['off', 'required', 'secured'] as const) {
      expect(visibleExports(table, STRANGER, stance).hasTlsOnly).toBe(false);
    }
    const plain = fixedExports([open]);
    expect(visibleExports(plain, STRANGER, 'offered').hasTlsOnly).toBe(false);
  });
});

describe('the names in a certificate', () => {
  it('are its common names and those alternative ones that name somebody', () => {
    const subjectaltname =
      'DNS:a.example, email:b@example, URI:spiffe://c/d, IP Address:192.0.2.1, ' +
      'Registered ID:1.2.3, othername:<unsupported>';
    expect(certificateNames({ subject: { CN: 'alice' }, subjectaltname })).toEqual([
      'alice',
      'a.example',
      'b@example',
      'spiffe://c/d',
      '192.0.2.1',
    ]);
    expect(certificateNames({ subject: { CN: ['x', 'y'] } })).toEqual(['x', 'y']);
    expect(certificateNames({})).toEqual([]);
  });

  it('do not include one that is written into another (CVE-2021-44532)', () => {
    const subjectaltname = 'DNS:"evil.example, DNS:alice", DNS:honest.example';
    expect(certificateNames({ subjectaltname })).toEqual(['honest.example']);
    expect(certificateNames({ subjectaltname: 'URI:"http://x/\\", DNS:alice"' })).toEqual([]);
  });
});
