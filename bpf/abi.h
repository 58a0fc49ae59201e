/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What the eBPF programs and the daemon share: keys and values of maps. Included by bpf/ and daemon/interception/
 * alone. Fixed width, explicit padding, sizes asserted. Addresses are four words in network order; an IPv4 address
 * stands in the first word (endpoints, originals) or is v4-mapped (note keys), as each comment says. Ports are in host
 * order unless the name ends in _be. A change of any layout here raises SLUICE_ABI: a daemon that finds pins of another
 * ABI replaces them.
 */
#ifndef SLUICE_BPF_ABI_H
#define SLUICE_BPF_ABI_H

#ifdef __cplusplus
#include <linux/types.h>
#define SLUICE_STATIC_ASSERT(condition, text) static_assert(condition, text)
#else
#define SLUICE_STATIC_ASSERT(condition, text) _Static_assert(condition, text)
#endif

#define SLUICE_ABI 3u

/* Address families, as in <sys/socket.h>; spelled out because the BPF side has no libc headers. */
#define SLUICE_IPV4 2u
#define SLUICE_IPV6 10u

/* Bounds. */
#define SLUICE_TARGETS_MAX 32768u     /* counter slots: targets now, and names that were targets before */
#define SLUICE_NAME_BYTES_MAX 128u    /* a target's name, with its final zero */
#define SLUICE_ENDPOINTS_MAX 65536u   /* entries of the endpoint trie, local aliases included */
#define SLUICE_LISTENERS_MAX 4096u    /* two (IPv4, IPv6) for each network namespace */
#define SLUICE_EXEMPT_MAX 262144u     /* upstream sockets between exempt() and forget() */
#define SLUICE_ENDS_MAX 65536u        /* ends of connections that may be short-circuited: four for each session */
#define SLUICE_NOTES_MAX 16384u       /* connections between SYN and accept; the default of SteeringOptions */
#define SLUICE_MPTCP_NAMES_MAX 16384u /* what getpeername shows on MPTCP sockets; an LRU, nothing depends on it */
#define SLUICE_HEARTBEAT_MAX_NS 2000000000ull /* an older heartbeat means that the daemon hangs */

/* Redirected connections go to 127.64.0.0/16: many destinations, so that local ports do not run out at 28k connections.
 */
#define SLUICE_REDIRECT_NET 0x7f400000u
#define SLUICE_REDIRECT_MASK 0xffff0000u

/* Key of the endpoint trie (BPF_MAP_TYPE_LPM_TRIE): prefix_bits counts from port_be; it always covers port and family.
 */
struct sluice_endpoint_key {
  __u32 prefix_bits;
  __u16 port_be;
  __u16 family;
  __u32 address[4]; /* IPv4 in the first word */
};
#define SLUICE_ENDPOINT_KEY_BITS 32u /* port and family, in front of the address */
SLUICE_STATIC_ASSERT(sizeof(struct sluice_endpoint_key) == 24, "endpoint key");

enum sluice_when_down { SLUICE_DENY = 0, SLUICE_ALLOW = 1 };
enum sluice_scope {
  SLUICE_EVERYWHERE = 0, /* as configured: holds in every network namespace */
  SLUICE_OWN_NETNS = 1,  /* an alias of a local address: means this host in the daemon's namespace only */
};

struct sluice_endpoint {
  __u32 target;     /* index into the targets last set */
  __u32 slot;       /* counter slot; follows the target's name */
  __u64 generation; /* which set_targets() the index belongs to */
  __u8 when_down;   /* enum sluice_when_down */
  __u8 scope;       /* enum sluice_scope */
  __u8 source_known;
  __u8 into; /* which readers the target's connections may be short-circuited into; SLUICE_INTO_* */
  __u8 padding[4];
  __u32 source[4]; /* the address that a direct connection would have as its own; same family as the key */
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_endpoint) == 40, "endpoint");

/* Why a connect was refused. */
enum sluice_refusal {
  SLUICE_REFUSED_DOWN = 0,         /* no listener: the daemon is not there */
  SLUICE_REFUSED_HUNG = 1,         /* heartbeat too old */
  SLUICE_REFUSED_NETNS = 2,        /* no listener in this network namespace */
  SLUICE_REFUSED_NOTES_FULL = 3,   /* no room for the note: too many connections wait to be accepted */
  SLUICE_REFUSED_NO_STORAGE = 4,   /* the socket cannot carry our state (its option memory is used up) */
  SLUICE_REFUSED_BOUND_DEVICE = 5, /* SO_BINDTODEVICE could not be cleared */
  SLUICE_REFUSED_SCOPE = 6,        /* a link-local destination without a scope */
  SLUICE_REFUSED_ELSEWHERE = 7,    /* another eBPF program had refused it already */
  SLUICE_REFUSALS = 8,
};

/* Per-CPU, per target. connects == redirected + exempt + uncovered + sum(refused) whenever no connect is in flight. */
struct sluice_counters {
  __u64 connects;
  __u64 redirected;
  __u64 exempt;
  __u64 uncovered;
  __u64 refused[SLUICE_REFUSALS];
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_counters) == 96, "counters");

/* Key of the listeners' SOCKHASH. */
struct sluice_listener_key {
  __u64 netns_cookie;
  __u32 family;
  __u32 padding;
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_listener_key) == 16, "listener key");

/* Key of the exempt sockets; kernels before 5.12 count socket cookies per namespace, therefore both. */
struct sluice_exempt_key {
  __u64 netns_cookie;
  __u64 socket_cookie;
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_exempt_key) == 16, "exempt key");

/* Key of a note: the client's side of the redirected connection. IPv4 is v4-mapped. */
struct sluice_note_key {
  __u64 netns_cookie;
  __u32 local[4];
  __u32 remote[4];
  __u16 local_port;
  __u16 remote_port;
  __u32 padding;
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_note_key) == 48, "note key");

/* What was true at connect(). */
struct sluice_note {
  __u64 generation;
  __u64 cgroup_id;
  __u64 netns_cookie;
  __u64 socket_cookie;
  __u64 start_boottime_ns; /* of the thread group leader */
  __u64 exec_id;           /* the kernel's self_exec_id: changes with each execve */
  __u64 exe_inode;
  __u64 connect_ktime_ns;
  __u32 exe_device; /* the kernel's dev_t: major << 20 | minor */
  __u32 target;
  __u32 pid;
  __u32 parent_pid;
  __u32 uid;
  __u32 gid;
  __u32 bound_device;    /* interface index of SO_BINDTODEVICE, 0: none */
  __u32 original_scope;  /* sin6_scope_id */
  __u32 original[4];     /* IPv4 in the first word */
  __u16 original_family; /* SLUICE_IPV4 also where an IPv6 socket asked for a v4-mapped address */
  __u16 original_port;
  __u32 padding;
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_note) == 120, "note");

/* --- the short-circuit: accelerate.bpf.c --- */

/* Into which sockets payload may be handed past the loopback stack. */
#define SLUICE_INTO_DAEMON 1u  /* client to daemon, server to daemon */
#define SLUICE_INTO_FOREIGN 2u /* daemon to client, daemon to server */

/* Value of an exempt socket. For the self-test's own pairs SLUICE_INTO_* stands beside SLUICE_EXEMPT_TRIAL. */
#define SLUICE_EXEMPT_PLAIN 1u
#define SLUICE_EXEMPT_TRIAL 0x80u

/* How bytes leave one end. Undecided leads to one of the others, redirected to TCP, and TCP nowhere. */
enum sluice_way { SLUICE_UNDECIDED = 0, SLUICE_REDIRECTED = 1, SLUICE_BY_TCP = 2 };

/* Why by TCP. */
enum sluice_tcp_reason {
  SLUICE_TCP_NOT_ASKED = 0, /* the target does not ask for this direction */
  SLUICE_TCP_BUSY = 1,      /* the socket is in another owner's map, or our own is full */
  SLUICE_TCP_NO_PEER = 2,   /* the other end was not in the map when the first bytes came */
  SLUICE_TCP_NOT_FIRST = 3, /* bytes had gone by TCP already, and may still be under way */
  SLUICE_TCP_FULL = 4,      /* the reader lags: back-pressure is TCP's work */
  SLUICE_TCP_ENCRYPTED = 5, /* one end handed its encryption to the kernel */
  SLUICE_TCP_PEER_GONE = 6, /* the other end closed */
  SLUICE_TCP_REASONS = 7,
};

/* Notices to the daemon, counted by the cookie of its socket, in its own memory: bytes for the socket went back to TCP,
 * so that they may stand in two queues; or the reader of what it writes lags, so that it should wait until that one has
 * taken everything. Sockets that share a slot only look in vain. */
#define SLUICE_NOTICE_SLOTS 16384u

/* One end of a local connection, found by its own view of the addresses (struct sluice_note_key). */
struct sluice_end {
  __u64 socket; /* the kernel's address, compared by cookie before it is believed */
  __u64 peer;   /* the other end's; 0 while it is not known */
  struct sluice_exempt_key key;
  struct sluice_exempt_key peer_key;
  __u8 of_daemon; /* whether the daemon owns this end */
  __u8 into;
  __u8 receives; /* whether it may be redirected into */
  __u8 way;      /* enum sluice_way of the bytes that leave here */
  __u8 reason;   /* enum sluice_tcp_reason */
  __u8 padding[3];
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_end) == 56, "end");

/* Per CPU. */
struct sluice_short_circuits {
  __u64 ends;       /* that joined */
  __u64 directions; /* that were redirected at some time */
  __u64 messages;   /* that were redirected */
  __u64 bytes;
  __u64 by_tcp[SLUICE_TCP_REASONS]; /* directions that went, or went back, to TCP, by reason */
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_short_circuits) == 88, "short circuits");

/* One value, mapped into the daemon's memory. */
struct sluice_settings {
  __u64 heartbeat_ns;  /* CLOCK_MONOTONIC; 0: never */
  __u64 daemon_cgroup; /* cgroup id of the daemon; 0: none */
  __u64 daemon_netns;  /* cookie of the namespace in which local aliases hold */
  __u64 generation;    /* of the last set_targets() */
  __u32 abi;
  __u32 padding;
};
SLUICE_STATIC_ASSERT(sizeof(struct sluice_settings) == 40, "settings");

#endif
