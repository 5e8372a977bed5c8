import type { Fault } from './fault.js';

/**
 * The interface between the soft RNIC's queue pair and a driver (the "wire"): the code that carries
 * work to the other end, in memory or over iWARP. The queue pair owns queues, keys, checks and completions; the
 * driver owns bytes in flight and the connection. Nothing here waits or schedules but for the doorbell.
 *
 * **Life.** `init` (receives may be posted) -- `activate` --> `ready` -- beginClose --> `closing`
 * -- any failure, setError, drain --> `error`. `ready` can go to `error` directly. When the error state is entered,
 * by whomever, the driver hears {@link WireDriver.onQueuePairError} once, from inside the call that caused it; it
 * may have to tell the peer and closes the connection. A driver that found the fault itself calls
 * `fail` and gets the same call.
 *
 * **Sending.** A post rings the doorbell: {@link WireDriver.onSendWork}, once per turn however much was posted. The
 * driver then calls `takeSend` until it returns null. REG_MR and LOCAL_INV are executed inside
 * it, in their place; what comes out is a Send, Send with Invalidate, RDMA Write or RDMA Read whose local memory
 * has been checked, in posting order, and is to go out in that order.
 *  - Send, Send with Invalidate, Write: the driver gathers `request.sges[0 .. sgeCount)` and calls
 *    `completeSend` when no byte of that memory will be read any more (socket flushed). Exactly
 *    once for each taken slot, also, and above all, after an error: its flush completion, and what is posted behind
 *    it, waits for that. The order of these calls does not matter.
 *  - Read: the driver sends the request with `slot.sinkKey` and the sink address that `readSinkHigh` and
 *    `readSinkLow` of work-request.ts give, and is done with the slot. The response completes it. Never more than
 *    the agreed ORD are out: takeSend returns null while the next request is a Read that must wait, and the doorbell
 *    rings again.
 *  - A driver that cannot take work now (socket full) just does not call takeSend, and does so itself later.
 *
 * **Receiving.** A segment is admitted by its header alone, before its payload has arrived:
 *
 *     fault = beginSend(messageOffset, length)                    untagged, queue 0
 *           | beginWrite(stag, toHigh, toLow, length)             RDMA Write
 *           | beginReadResponse(stag, toHigh, toLow, length)      RDMA Read Response
 *     fault = place(source, start, end, view)                     any number of times, with pieces of any size
 *     fault = endSend(messageBytes, withInvalidate, key)          after the last segment of a message
 *           | endReadResponse(isLast)                             after every segment
 *           | endWrite()                                          after every segment; it counts what was placed
 *
 * One segment is open at a time; segments of different messages may follow each other as the protocol allows. A
 * result other than `Fault.none` means: nothing was placed by this call, tell the peer, call `fail(fault)`. The
 * queue pair does not know about sequence numbers and message offsets that jump: the driver checks MSN and MO.
 *
 * An RDMA Read of the peer: `beginRead(..., span)` checks key, range and the depth that we granted (IRD) and fills
 * the driver's own RegionSpan. The driver asks `span.isLive` before each piece that it sends, since the key may be
 * revoked meanwhile, and calls `endRead` when the last byte of the response has left.
 *
 * Lengths of zero are allowed everywhere and check no key (RFC 5040 section 5.2, RFC 5041 section 5.4).
 */
export interface WireDriver {
  /** The doorbell: there is something to take. Called from a microtask, at most once per turn. */
  onSendWork(): void;
  /** The queue pair is in the error state now; nothing may be placed any more. `reason` is null if its owner asked. */
  onQueuePairError(reason: string | null, fault: Fault): void;
}

export interface ReadDepths {
  /** RDMA Reads that we may have outstanding (ORD). */
  readonly initiator: number;
  /** RDMA Reads that the peer may have outstanding here (IRD). */
  readonly responder: number;
}
