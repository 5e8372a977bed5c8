import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { accessRule, checkRule } from '../../src/gateway/access-config.js';
import { readConfigFile } from '../../src/gateway/config.js';
import type { ConfigFile } from '../../src/gateway/config.js';
import { bufferPool, limitsOfWorker, nbdLimits } from '../../src/gateway/limits-config.js';
import { isInNetwork } from '../../src/nbd/network.js';

const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-'));
afterAll(() => rmSync(folder, { recursive: true }));

function read(text: string): ConfigFile {
  const path = join(folder, 'serve.yaml');
  writeFileSync(path, text);
  return readConfigFile(path);
}

function ofExport(text: string): string {
  return `exports: [{name: a, url: "memory:1M", ${text}}]`;
}

describe('the configuration of who may see what', () => {
  it('becomes a rule', () => {
    const text = 'allow: {certificates: [alice], psk: [carol], networks: [192.0.2.0/24, unix]}';
    const rule = accessRule(read(ofExport(text)).exports[0]?.allow);
    expect(rule).toMatchObject({ certificates: ['alice'], psk: ['carol'] });
    expect(rule?.networks?.map((network) => isInNetwork(network, '192.0.2.3'))).toEqual([
      true,
      false,
    ]);
    expect(accessRule(undefined)).toBeNull();
  });

  it.each([
    ['allow: {certificate: [x]}', /certificate/],
    ['allow: {psk: []}', /psk/],
    ['allow: {psk: [""]}', /psk/],
    ['allow: everybody', /allow/],
  ])('is refused with its place: %s', (text, words) => {
    expect(() => read(ofExport(text))).toThrow(words);
  });

  it('is refused for a network that is none', () => {
    expect(() => accessRule({ networks: ['10.0.0.1/8'] })).toThrow(/bits set behind its prefix/);
  });

  it('is refused when nobody could fulfil it', () => {
    const files = { certificate: 'c', key: 'k', ca: null, psk: null };
    const certificates = accessRule({ certificates: ['alice'] });
    const psk = accessRule({ psk: ['carol'] });
    expect(() => checkRule('a', certificates, null)).toThrow(/set tls/);
    expect(() => checkRule('a', certificates, files)).toThrow(/tls\.ca/);
    expect(() => checkRule('a', psk, files)).toThrow(/tls\.psk/);
    checkRule('a', certificates, { ...files, ca: 'ca' });
    checkRule('a', psk, { ...files, psk: 'keys' });
    checkRule('a', accessRule({ networks: ['unix'] }), null);
    checkRule('a', null, null);
  });
});

describe('the configuration of limits', () => {
  it('becomes what the server and its buffers take', () => {
    const { limits } = read(
      'limits: {connections: 10, connectionsPerAddress: 4, handshakeSeconds: 2.5, stallSeconds: 60,' +
        ' contendedStallSeconds: 5, requestsInFlight: 16, bytesInFlight: 8M, bytesInFlightTotal: 1G}',
    );
    expect(nbdLimits(limits)).toEqual({
      connectionsMax: 10,
      connectionsPerAddressMax: 4,
      handshakeMs: 2500,
      stallMs: 60_000,
      contendedStallMs: 5000,
      inFlightMax: 16,
      inFlightBytesMax: 8 * 1024 * 1024,
    });
    expect(bufferPool(limits).requestBytesMax).toBe(32 * 1024 * 1024);
  });

  it('keeps the defaults of what it does not name', () => {
    expect(nbdLimits()).toEqual({});
    expect(nbdLimits(read('limits: {}').limits)).toEqual({});
  });

  it.each([
    ['connections: 0', /connections/],
    ['connections: 1.5', /connections/],
    ['handshakeSeconds: 0', /handshakeSeconds/],
    ['bytesInFlight: 1K', /at least 1M/],
    ['bytesInFlight: lots', /such as 64M/],
    ['bytesInFlightTotal: 1M', /at least 80M/],
    ['conections: 1', /conections/],
  ])('is refused with its place: %s', (text, words) => {
    expect(() => read(`limits: {${text}}`)).toThrow(words);
  });
});

describe('the configuration of sockets and TLS', () => {
  it('has Unix sockets by path alone, or with mode and owner', () => {
    expect(read('unix: [/a, {path: /b, mode: "0660", owner: "root:kvm"}]').unix).toEqual([
      '/a',
      { path: '/b', mode: '0660', owner: 'root:kvm' },
    ]);
  });

  it.each([
    ['unix: [{path: /b, mode: 0660}]', /unix\.0/],
    ['unix: [{mode: "0660"}]', /unix\.0/],
    ['tls: {mode: maybe}', /tls\.mode/],
    ['tls: {certificate: x}', /certificate/],
    ['default: 7', /default/],
  ])('is refused with its place: %s', (text, words) => {
    expect(() => read(text)).toThrow(words);
  });

  it('has TLS and a default export', () => {
    const file = read('default: a\ntls: {mode: require, cert: c, key: k, ca: x, psk: p}');
    expect(file).toMatchObject({ default: 'a', tls: { mode: 'require', cert: 'c', psk: 'p' } });
  });
});

describe('deploy/serve.yaml', () => {
  it('may be used with everything in it that is commented out', () => {
    const text = readFileSync(new URL('../../deploy/serve.yaml', import.meta.url), 'utf8');
    const lines = text.split('\n').slice(1);
    const file = read(lines.map((line) => line.replace(/^(\s*)# /, '$1')).join('\n'));
    expect(file.exports[0]?.allow).toMatchObject({ certificates: ['alice'], psk: ['carol'] });
    expect(file.tls?.mode).toBe('require');
    expect(file.limits?.connections).toBe(1024);
    expect(file.unix).toEqual([
      { path: '/run/iser-nbd/nbd.sock', mode: '0660', owner: 'root:disk' },
    ]);
  });
});

describe('workers in the configuration', () => {
  it('are a number of processes', () => {
    expect(read('workers: 4').workers).toBe(4);
    expect(read('').workers).toBeUndefined();
  });

  it.each(['0', '-1', '1.5', '33', 'many'])('are refused as %s', (text) => {
    expect(() => read(`workers: ${text}`)).toThrow(/workers/);
  });

  it('share the memory for requests, and nothing else', () => {
    const limits = { connections: 10, bytesInFlightTotal: 400 << 20 };
    expect(limitsOfWorker(limits, 4)).toEqual({ connections: 10, bytesInFlightTotal: 100 << 20 });
    expect(() => limitsOfWorker(limits, 6)).toThrow(/too small for 6 workers; .*at least 480M/);
    expect(limitsOfWorker(undefined, 6)).toEqual({});
  });
});
