/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * The decisions of the short-circuit as pure functions: no helpers, no maps, no context. The program gathers, asks
 * here, and acts. The same header is compiled into unit tests, because sk_msg programs cannot be run by
 * BPF_PROG_TEST_RUN.
 *
 * A reader takes what was handed over before what came by TCP. Order is therefore kept by three rules, which hold for
 * one direction each:
 *   1. Redirecting begins only when the reader has taken every byte that ever went by TCP.
 *   2. Where the reader is not the daemon it begins with the first byte or never: a reader that waits inside of TCP's
 *      own recvmsg for more than there is (MSG_WAITALL) would not see what is handed over. The daemon never waits
 * there.
 *   3. Redirecting that has ended never begins again.
 */
#ifndef SLUICE_BPF_ACCELERATE_DECIDE_H
#define SLUICE_BPF_ACCELERATE_DECIDE_H

#include "abi.h"
#include "decide.h"

/* Messages for which a direction may stay undecided: the other end joins a moment after the connection stands. */
#define SLUICE_UNDECIDED_MESSAGES_MAX 8u

/* Of the receive buffer, what may be queued past TCP. The other half is for TCP: when a direction goes back to it, its
 * segments still fit. Were they dropped, the sender would learn of new room by its retransmission timer only. */
#define SLUICE_QUEUED_PART 2u

struct sluice_first_facts {
  __u8 reader_is_daemon;
  __u8 peer_known;   /* the other end is in the map, and its address in memory still is that socket */
  __u8 encrypted;    /* one of the two ends handed its encryption to the kernel */
  __u8 nothing_sent; /* no byte ever went by TCP in this direction */
  __u32 sent_up_to;  /* by TCP: the writer's next sequence number */
  __u32 taken_up_to; /* by the reader, of what came by TCP */
  __u32 messages_before;
};

/* Whether redirecting begins with this message. *reason is set where the answer is SLUICE_BY_TCP. */
SLUICE_INLINE enum sluice_way sluice_decide_first(const struct sluice_first_facts* facts, __u8* reason) {
  if (facts->encrypted) {
    *reason = SLUICE_TCP_ENCRYPTED;
    return SLUICE_BY_TCP;
  }
  int drained = facts->peer_known && facts->sent_up_to == facts->taken_up_to;
  if (facts->reader_is_daemon) {
    if (drained) return SLUICE_REDIRECTED;
    if (facts->messages_before < SLUICE_UNDECIDED_MESSAGES_MAX) return SLUICE_UNDECIDED;
  } else if (drained && facts->nothing_sent) {
    return SLUICE_REDIRECTED;
  }
  *reason = facts->peer_known ? SLUICE_TCP_NOT_FIRST : SLUICE_TCP_NO_PEER;
  return SLUICE_BY_TCP;
}

/* Whether a message may be queued past TCP at a reader that has `queued` bytes waiting. */
SLUICE_INLINE int sluice_has_room(__u32 queued, __u32 size, __u32 receive_buffer) {
  __u32 most = receive_buffer / SLUICE_QUEUED_PART;
  return queued <= most && size <= most - queued;
}

/*
 * Whether redirecting may end with this message. An edge-triggered reader may take a short read for "nothing more", and
 * a read ends where what was handed over ends, even if more came by TCP. The daemon knows that and reads again. For any
 * other reader the two queues are never filled at once: the writer, which is the daemon then, waits until what was
 * handed over is taken, and what it writes before that is handed over too.
 */
SLUICE_INLINE int sluice_may_end(int reader_is_daemon, __u32 queued) {
  return reader_is_daemon || queued == 0;
}

#endif
