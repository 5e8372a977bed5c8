/** Limits on what a peer can send, for initiator and target, each with its reason. */

/** RFC 7143 13.12: what a login PDU may carry when nothing is declared (`ISCSI_DEF_MAX_RECV_SEG_LEN`). */
export const LOGIN_DATA_BYTES_MAX = 8192;

/** The text of one negotiation step, over all the PDUs that the C bit joins. Real logins use less than 1 KiB. */
export const TEXT_BYTES_MAX = 8192;

/** Key-value pairs in the text of a login: the RFCs define fewer than 50 keys. */
export const TEXT_PAIRS_MAX = 8192;

/** RFC 7143 6.1: a key name has at most 63 characters. */
export const KEY_NAME_CHARS_MAX = 63;

/** RFC 7143 6.1: a value has at most 255 bytes unless its key says otherwise. */
export const TEXT_VALUE_BYTES_MAX = 255;

/**
 * RFC 7143 12.1.3: a CHAP challenge or response has at most 1024 bytes. In hexadecimal each byte has two characters.
 */
export const BINARY_VALUE_BYTES_MAX = 1024;
export const BINARY_VALUE_CHARS_MAX = 2 + 2 * BINARY_VALUE_BYTES_MAX;

/** RFC 7143 4.2.7.1: an iSCSI name. */
export const ISCSI_NAME_BYTES_MAX = 223;

/** RFC 7143 9.2.1: an off-line attack on a recorded exchange finds shorter secrets. */
export const CHAP_SECRET_BYTES_MIN = 12;
/** The longest secret that a target stores: LIO has 256 bytes with the terminator. */
export const CHAP_SECRET_BYTES_MAX = 255;
/** The length of our own challenges: the longest digest, so that no challenge is weaker than its hash. */
export const CHAP_CHALLENGE_BYTES = 32;

/** Login requests in one login. A normal login takes 2 to 5. Only a peer that never finishes reaches this limit. */
export const LOGIN_EXCHANGES_MAX = 32;

/** The smallest data segment length that a side may declare (RFC 7143 13.12, RFC 7145 6.4 and 6.5). */
export const RECEIVE_DATA_BYTES_MIN = 512;
/** The text of one SendTargets answer: 4,000 targets with the longest names and two IPv6 portals each take 1.5 MB. */
export const DISCOVERY_TEXT_BYTES_MAX = 2 * 1024 * 1024;

/** Items of a SendTargets answer that the warning about unreadable items quotes. Every item may be unreadable. */
export const ODD_ITEMS_TOLD_MAX = 10;
