import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Makes certificates with certtool and keys with psktool in `folder`, as docs/tls.md tells people to. */
export class Credentials {
  readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  authority(): void {
    this.#template('ca', ['cn = "NBD test authority"', 'ca', 'cert_signing_key']);
    this.#run('certtool', '--generate-privkey', '--key-type=ecdsa', '--outfile', 'ca-key.pem');
    this.#run(
      'certtool',
      ...['--generate-self-signed', '--load-privkey', 'ca-key.pem'],
      ...['--template', 'ca.info', '--outfile', 'ca-cert.pem'],
    );
  }

  server(): void {
    this.#issue('server', [
      'cn = "localhost"',
      'dns_name = "localhost"',
      'ip_address = "127.0.0.1"',
      'tls_www_server',
    ]);
  }

  /** A folder as libnbd and QEMU want it: ca-cert.pem, client-cert.pem and client-key.pem. */
  client(name: string): string {
    const client = new Credentials(this.path(name));
    this.#issue(name, [`cn = "${name}"`, 'tls_www_client']);
    this.#run('cp', 'ca-cert.pem', client.folder);
    this.#run('mv', `${name}-cert.pem`, client.path('client-cert.pem'));
    this.#run('mv', `${name}-key.pem`, client.path('client-key.pem'));
    return client.folder;
  }

  key(user: string): void {
    this.#run('psktool', '-u', user, '-p', 'keys.psk');
  }

  #issue(name: string, template: readonly string[]): void {
    this.#template(name, template);
    const key = `${name}-key.pem`;
    this.#run('certtool', '--generate-privkey', '--key-type=ecdsa', '--outfile', key);
    this.#run(
      'certtool',
      ...['--generate-certificate', '--load-privkey', key, '--template', `${name}.info`],
      ...['--load-ca-certificate', 'ca-cert.pem', '--load-ca-privkey', 'ca-key.pem'],
      ...['--outfile', `${name}-cert.pem`],
    );
  }

  #template(name: string, lines: readonly string[]): void {
    writeFileSync(this.path(`${name}.info`), `${lines.join('\n')}\nexpiration_days = 30\n`);
  }

  #run(program: string, ...args: string[]): void {
    const { status, stderr } = spawnSync(program, args, { cwd: this.folder, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  }
}
