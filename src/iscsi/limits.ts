/** Bounds on what a peer can say, on either side, each with its reason. */

/** RFC 7143 13.12: what a login PDU may carry when nothing is declared (`ISCSI_DEF_MAX_RECV_SEG_LEN`). */
export const LOGIN_DATA_BYTES_MAX = 8192;

/** All text of one negotiation step, however many PDUs its C bit spreads it over. Real logins use below 1 KiB. */
export const TEXT_BYTES_MAX = 8192;

/** Key-value pairs in the text of a login: the RFCs define fewer than 50 keys. */
export const TEXT_PAIRS_MAX = 8192;

/** RFC 7143 6.1: a key name has at most 63 characters. */
export const KEY_NAME_CHARS_MAX = 63;

/** RFC 7143 6.1: a value has at most 255 bytes unless its key says otherwise. */
export const TEXT_VALUE_BYTES_MAX = 255;

/** RFC 7143 12.1.3: a CHAP challenge or response has at most 1024 bytes; in hexadecimal, two characters each. */
export const BINARY_VALUE_BYTES_MAX = 1024;
export const BINARY_VALUE_CHARS_MAX = 2 + 2 * BINARY_VALUE_BYTES_MAX;

/** RFC 7143 4.2.7.1: an iSCSI name. */
export const ISCSI_NAME_BYTES_MAX = 223;

/** RFC 7143 9.2.1: shorter secrets fall to an off-line attack on an overheard exchange. */
export const CHAP_SECRET_BYTES_MIN = 12;
/** More than any target stores; LIO keeps 256 with the terminator. */
export const CHAP_SECRET_BYTES_MAX = 255;
/** Bytes in our own challenges: as long as the longest digest, so that none is weaker than its hash. */
export const CHAP_CHALLENGE_BYTES = 32;

/** Login requests in one login. A normal login takes 2 to 5; only a peer that never finishes reaches this. */
export const LOGIN_EXCHANGES_MAX = 32;

/** The smallest data segment that a side may say it can receive (RFC 7143 13.12, RFC 7145 6.4 and 6.5). */
export const RECEIVE_DATA_BYTES_MIN = 512;
/** All text of one SendTargets answer: 4,000 targets with the longest names and two IPv6 portals each are 1.5 MB. */
export const DISCOVERY_TEXT_BYTES_MAX = 2 * 1024 * 1024;

/** Items of a SendTargets answer that are told when they had to be left out; all may be odd. */
export const ODD_ITEMS_TOLD_MAX = 10;
