import type { Fault } from './fault.js';

/**
 * The interface between the soft RNIC's queue pair and a driver (the "wire"): the code that carries work to the other
 * end, in memory or over iWARP. The queue pair owns queues, keys, checks and completions. The driver owns bytes in
 * flight and the connection. Only the doorbell schedules a callback.
 *
 * **Life.** `init` (receives may be posted) -- `activate` --> `ready` -- beginClose --> `closing` -- any failure,
 * setError, drain --> `error`. `ready` can go to `error` directly. When the queue pair enters the error state, it
 * calls {@link WireDriver.onQueuePairError} once, inside the call that caused the error. The driver tells the peer if
 * necessary, and closes the connection. A driver that finds a fault itself calls `fail` and receives the same call.
 *
 * **Sending.** A post rings the doorbell: {@link WireDriver.onSendWork}, once per turn however much was posted. The
 * driver then calls `takeSend` until it returns null. `takeSend` itself executes REG_MR and LOCAL_INV in their order.
 * It returns a Send, Send with Invalidate, RDMA Write or RDMA Read whose local memory has been checked. The driver
 * sends them in this order, which is the posting order.
 * - Send, Send with Invalidate, Write: the driver gathers `request.sges[0 .. sgeCount)` and calls `completeSend` when
 *   it will read no byte of that memory any more (socket flushed). It calls `completeSend` exactly once for each
 *   taken slot, even after an error: the flush completion of the slot, and of later requests, waits for the call. The
 *   order of these calls does not matter.
 * - Read: the driver sends the request with `slot.sinkKey` and the sink address from `readSinkHigh` and `readSinkLow`
 *   of work-request.ts, and then releases the slot. The response completes the slot. At most the agreed ORD of Reads
 *   are outstanding: takeSend returns null while the next request is a Read that must wait, and the doorbell rings
 *   again later.
 * - A driver that cannot take work now (socket full) does not call takeSend, and calls it later on its own.
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
 * One segment is open at a time. Segments of different messages may alternate as the protocol allows. After a result
 * other than `Fault.none` the call has placed nothing; the driver tells the peer and calls `fail(fault)`. The driver
 * checks MSN and MO, because the queue pair knows nothing of sequence numbers and message offsets.
 *
 * An RDMA Read of the peer: `beginRead(..., span)` checks key, range and the depth that we granted (IRD) and fills
 * the driver's own RegionSpan. The driver checks `span.isLive` before each piece that it sends, because the key may
 * have been revoked. The driver calls `endRead` when the last byte of the response has left.
 *
 * Lengths of zero are allowed everywhere and check no key (RFC 5040 section 5.2, RFC 5041 section 5.4).
 */
export interface WireDriver {
  /** The doorbell: the send queue has work. Called from a microtask, at most once per turn. */
  onSendWork(): void;
  /**
   * The queue pair is in the error state, and nothing may be placed any more. `reason` is null if the owner requested
   * the error state.
   */
  onQueuePairError(reason: string | null, fault: Fault): void;
}

export interface ReadDepths {
  /** RDMA Reads that we may have outstanding (ORD). */
  readonly initiator: number;
  /** RDMA Reads that the peer may have outstanding here (IRD). */
  readonly responder: number;
}
