import { lookup as lookUp } from 'node:dns/promises';
import { isIPv4, isIPv6 } from './address.js';
import type { HostAndPort } from './address.js';
import { ConfigError } from './errors.js';
import { EVERY_HOST } from './listen-address.js';
import { codeOf, listenFailure } from './listen-failure.js';

/** A TCP address to listen on. */
export interface ListenPlace extends HostAndPort {
  /** Refuses IPv4 clients, which `::` would take as well. */
  readonly ipv6Only?: boolean;
  /** One of several addresses of a name: where this machine does not have it, the others are enough. */
  readonly isOptional?: boolean;
}

/** Places that get the same port number. For port 0, it is a free port. */
export type PlaceGroup = readonly ListenPlace[];

/** All IP addresses of a name. */
export type Resolve = (name: string) => Promise<readonly string[]>;

const IPV4_ANY = '0.0.0.0';
const IPV6_ANY = '::';
/** The system gives us a free port on one address; another program may have that port on another address. */
const PORT_TRIES_MAX = 32;

const resolveName: Resolve = async (name) => {
  const found = await lookUp(name, { all: true, verbatim: true });
  return found.map(({ address }) => address);
};

/**
 * The sockets to open for the addresses in `asked`. A name means all its addresses; `localhost` means both 127.0.0.1 and
 * ::1. `[::]` takes IPv4 clients too (unless net.ipv6.bindv6only is set), but not where `asked` has an IPv4 address with
 * the same port as well.
 *
 * @throws ConfigError when a name has no address
 */
export async function planListening(
  asked: readonly HostAndPort[],
  resolve: Resolve = resolveName,
): Promise<readonly PlaceGroup[]> {
  const places: ListenPlace[] = [];
  for (const address of asked) places.push(...(await placesOf(address, resolve)));
  const wanted = withoutCovered(places).map((place) =>
    place.host === IPV6_ANY ? { ...place, ipv6Only: hasIpv4(places, place.port) } : place,
  );
  const groups: ListenPlace[][] = [];
  for (const place of wanted) {
    const group = groups.find(
      (others) => others[0]?.port === place.port && others.every(({ host }) => host !== place.host),
    );
    if (group === undefined) groups.push([place]);
    else group.push(place);
  }
  return groups;
}

/**
 * Opens all places, in order. When one cannot be opened, the others are closed again. `open` fails with an error whose
 * cause is the system's error.
 */
export async function openPlaces<T extends { readonly port: number }>(
  groups: readonly PlaceGroup[],
  open: (place: ListenPlace) => Promise<T>,
  close: (opened: T) => void | Promise<void>,
): Promise<T[]> {
  const all: T[] = [];
  try {
    for (const group of groups) all.push(...(await openGroup(group, open, close)));
    return all;
  } catch (error) {
    for (const opened of all) await close(opened);
    throw error;
  }
}

async function openGroup<T extends { readonly port: number }>(
  group: PlaceGroup,
  open: (place: ListenPlace) => Promise<T>,
  close: (opened: T) => void | Promise<void>,
): Promise<T[]> {
  for (let tries = 1; ; tries++) {
    const opened: T[] = [];
    let missing: unknown = null;
    try {
      for (const place of group) {
        const port = opened[0]?.port ?? place.port;
        try {
          opened.push(await open({ ...place, port }));
        } catch (error) {
          if (place.isOptional !== true || !isAbsent(error)) throw error;
          missing ??= error;
        }
      }
      if (opened.length > 0) return opened;
      throw missing;
    } catch (error) {
      for (const each of opened) await close(each);
      const isUnlucky =
        opened.length > 0 && group[0]?.port === 0 && systemCode(error) === 'EADDRINUSE';
      if (!isUnlucky || tries >= PORT_TRIES_MAX) throw error;
    }
  }
}

async function placesOf({ host, port }: HostAndPort, resolve: Resolve): Promise<ListenPlace[]> {
  const optional = (hosts: readonly string[]): ListenPlace[] =>
    hosts.map((each) => ({ host: each, port, isOptional: true }));
  if (host === EVERY_HOST) return optional([IPV4_ANY, IPV6_ANY]);
  if (isIPv4(host) || isIPv6(host)) return [{ host, port }];
  if (/^localhost\.?$/i.test(host)) return optional(['127.0.0.1', '::1']);
  try {
    return optional(await resolve(host));
  } catch (error) {
    throw new ConfigError('listen', listenFailure({ host, port }, error), { host, port }, error);
  }
}

/** Without places that are named twice, and without places that the wildcard of their family covers. */
function withoutCovered(places: readonly ListenPlace[]): ListenPlace[] {
  return places.filter(({ host, port }, index) => {
    if (port === 0) return true;
    const any = isIPv4(host) ? IPV4_ANY : IPV6_ANY;
    const isCovered =
      host !== any && places.some((other) => other.host === any && other.port === port);
    const first = places.findIndex((other) => other.host === host && other.port === port);
    return !isCovered && first === index;
  });
}

function hasIpv4(places: readonly ListenPlace[], port: number): boolean {
  return places.some((place) => place.port === port && isIPv4(place.host));
}

/** This machine does not have the address, or has no addresses of its family. */
function isAbsent(error: unknown): boolean {
  return ['EADDRNOTAVAIL', 'EAFNOSUPPORT'].includes(systemCode(error));
}

function systemCode(error: unknown): string {
  return codeOf(error instanceof Error && error.cause !== undefined ? error.cause : error);
}
