/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * The decisions of the connect hooks as pure functions: no helpers, no maps, no context. The hooks gather, ask here,
 * and act. The same header is compiled into unit tests, because sock_addr and sock_ops programs cannot be run by
 * BPF_PROG_TEST_RUN.
 */
#ifndef SLUICE_BPF_DECIDE_H
#define SLUICE_BPF_DECIDE_H

#include "abi.h"

#define SLUICE_INLINE static inline __attribute__((always_inline, unused))

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define SLUICE_BE32(x) __builtin_bswap32(x)
#define SLUICE_BE16(x) __builtin_bswap16(x)
#else
#define SLUICE_BE32(x) (x)
#define SLUICE_BE16(x) (x)
#endif

#define SLUICE_LOOPBACK4 0x7f000001u

/* A destination in its one normal form: what the kernel would really have connected to. */
struct sluice_destination {
  __u16 family;
  __u16 port_be;
  __u32 address[4]; /* IPv4 in the first word */
};

SLUICE_INLINE int sluice_is_any6(const __u32 a[4]) {
  return (a[0] | a[1] | a[2] | a[3]) == 0;
}

SLUICE_INLINE int sluice_is_mapped(const __u32 a[4]) {
  return (a[0] | a[1]) == 0 && a[2] == SLUICE_BE32(0xffffu);
}

SLUICE_INLINE int sluice_is_loopback4(__u32 address_be) {
  return (SLUICE_BE32(address_be) >> 24) == 127;
}

SLUICE_INLINE int sluice_is_loopback6(const __u32 a[4]) {
  return (a[0] | a[1] | a[2]) == 0 && a[3] == SLUICE_BE32(1u);
}

SLUICE_INLINE int sluice_is_link_local6(const __u32 a[4]) {
  return (SLUICE_BE32(a[0]) & 0xffc00000u) == 0xfe800000u;
}

SLUICE_INLINE int sluice_is_redirect4(__u32 address_be) {
  return (SLUICE_BE32(address_be) & SLUICE_REDIRECT_MASK) == SLUICE_REDIRECT_NET;
}

/*
 * IPv4: 0.0.0.0 means the socket's own address where it is bound, else 127.0.0.1 (ip_route_output_key: a destination of
 * zero becomes the source, and both zero become loopback).
 */
SLUICE_INLINE void sluice_normalise4(__u32 destination_be, __u32 source_be, __u16 port_be,
                                     struct sluice_destination* out) {
  __u32 address = destination_be;
  if (address == 0) address = source_be;
  if (address == 0) address = SLUICE_BE32(SLUICE_LOOPBACK4);
  out->family = SLUICE_IPV4;
  out->port_be = port_be;
  out->address[0] = address;
  out->address[1] = 0;
  out->address[2] = 0;
  out->address[3] = 0;
}

/*
 * IPv6: :: means ::1, or 127.0.0.1 on a socket bound to a v4-mapped source (tcp_v6_connect); a v4-mapped destination is
 * an IPv4 connection.
 */
SLUICE_INLINE void sluice_normalise6(const __u32 destination[4], const __u32 source[4], __u16 port_be,
                                     struct sluice_destination* out) {
  if (sluice_is_mapped(destination)) {
    sluice_normalise4(destination[3], sluice_is_mapped(source) ? source[3] : 0, port_be, out);
    return;
  }
  if (sluice_is_any6(destination)) {
    if (sluice_is_mapped(source)) {
      sluice_normalise4(SLUICE_BE32(SLUICE_LOOPBACK4), 0, port_be, out);
      return;
    }
    out->address[0] = 0;
    out->address[1] = 0;
    out->address[2] = 0;
    out->address[3] = SLUICE_BE32(1u);
  } else {
    out->address[0] = destination[0];
    out->address[1] = destination[1];
    out->address[2] = destination[2];
    out->address[3] = destination[3];
  }
  out->family = SLUICE_IPV6;
  out->port_be = port_be;
}

/*
 * Which listener an AF_INET6 socket can reach: the IPv4 one through ::ffff:127.64.x.y, unless the socket is V6ONLY or
 * bound to a real IPv6 source (then the kernel answers ENETUNREACH), which take the ::1 listener.
 */
SLUICE_INLINE __u16 sluice_redirect_family(const struct sluice_destination* destination, const __u32 source[4],
                                           int v6only) {
  if (destination->family == SLUICE_IPV4) return SLUICE_IPV4;
  if (v6only) return SLUICE_IPV6;
  if (!sluice_is_any6(source) && !sluice_is_mapped(source)) return SLUICE_IPV6;
  return SLUICE_IPV4;
}

/* Spreads connections over 127.64.0.0/16. Socket cookies are sequential: a multiplicative hash spreads them evenly. */
SLUICE_INLINE __u32 sluice_redirect_address_be(__u64 socket_cookie) {
  __u32 low = (__u32)((socket_cookie * 0x9e3779b97f4a7c15ull) >> 48);
  return SLUICE_BE32(SLUICE_REDIRECT_NET | low);
}

/* A heartbeat in the future was written between our reading of the clock and of the map: the daemon lives. */
SLUICE_INLINE int sluice_heartbeat_fresh(__u64 heartbeat_ns, __u64 now_ns) {
  if (heartbeat_ns == 0) return 0;
  return heartbeat_ns >= now_ns || now_ns - heartbeat_ns <= SLUICE_HEARTBEAT_MAX_NS;
}

enum sluice_verdict { SLUICE_REDIRECT = 0, SLUICE_EXEMPT = 1, SLUICE_UNCOVERED = 2, SLUICE_REFUSE = 3 };

struct sluice_facts {
  __u8 exempt;            /* our own upstream socket */
  __u8 refused_elsewhere; /* an earlier program in the chain refused the connect */
  __u8 listener;          /* a listener is registered for this namespace and family */
  __u8 heartbeat_fresh;
  __u8 own_netns;     /* the client is in the daemon's namespace */
  __u8 when_down;     /* enum sluice_when_down */
  __u8 scope_missing; /* link-local destination whose scope is not known */
  __u8 padding;
};

/* What happens to a connect to a target. Gives the verdict; *refusal says why, where it is SLUICE_REFUSE. */
SLUICE_INLINE enum sluice_verdict sluice_decide(const struct sluice_facts* facts, __u32* refusal) {
  if (facts->refused_elsewhere) {
    *refusal = SLUICE_REFUSED_ELSEWHERE;
    return SLUICE_REFUSE;
  }
  if (facts->exempt) return SLUICE_EXEMPT;
  if (!facts->listener || !facts->heartbeat_fresh) {
    if (facts->when_down == SLUICE_ALLOW) return SLUICE_UNCOVERED;
    if (!facts->own_netns) {
      *refusal = SLUICE_REFUSED_NETNS;
    } else if (!facts->listener) {
      *refusal = SLUICE_REFUSED_DOWN;
    } else {
      *refusal = SLUICE_REFUSED_HUNG;
    }
    return SLUICE_REFUSE;
  }
  if (facts->scope_missing) {
    *refusal = SLUICE_REFUSED_SCOPE;
    return SLUICE_REFUSE;
  }
  return SLUICE_REDIRECT;
}

/* getsockname: the kernel picked a loopback source for the local hop, which a direct connection would not have. */
SLUICE_INLINE int sluice_hide_source4(__u32 shown_be, int source_bound) {
  return !source_bound && sluice_is_loopback4(shown_be);
}

SLUICE_INLINE int sluice_hide_source6(const __u32 shown[4], int source_bound) {
  if (source_bound) return 0;
  if (sluice_is_mapped(shown)) return sluice_is_loopback4(shown[3]);
  return sluice_is_loopback6(shown);
}

#endif
