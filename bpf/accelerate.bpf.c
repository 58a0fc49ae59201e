// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
// The short-circuit of local hops: payload that one end of a connection writes is handed to the other end's socket,
// past the loopback stack. sockops notes the two ends as the connection is made; sk_msg decides on each message.
// Whatever is not certain goes by TCP: the verdict is always SK_PASS, with or without a redirect set before it.
//
// Two maps of sockets, because being a writer costs: a socket in sluice_writers sends through sk_msg, a socket that is
// in sluice_readers alone sends as it always did. Sockets leave both maps when they close, never before: bytes that
// were handed over wait in the socket's membership. The programs hold the maps, and the sockets hold the programs: when
// the daemon dies, sockets keep what they were handed.
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "accelerate_decide.h"
#include "accelerate_types.h"
#include "connection_maps.h"
#include "own_tuple.h"
#include "steering_maps.h"

#define LOOPBACK_INDEX 1 /* the kernel's LOOPBACK_IFINDEX */

char sluice_accelerate_license[] SEC("license") = "Dual BSD/GPL";

struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, SLUICE_ENDS_MAX);
  __type(key, struct sluice_exempt_key);
  __type(value, __u64);
} sluice_writers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, SLUICE_ENDS_MAX);
  __type(key, struct sluice_exempt_key);
  __type(value, __u64);
} sluice_readers SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLUICE_ENDS_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct sluice_note_key);
  __type(value, struct sluice_end);
} sluice_ends SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct sluice_short_circuits);
} sluice_circuits SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, SLUICE_NOTICE_SLOTS);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, __u64);
} sluice_notices SEC(".maps");

// What the writer's socket carries, so that a message costs one look-up.
struct sluice_path {
  struct sluice_note_key own;  // of its end
  struct sluice_exempt_key reader_key;
  __u64 own_cookie;
  __u64 reader;  // the kernel's address of the socket
  __u32 way;     // enum sluice_way
  __u32 messages;
  __u8 reader_is_daemon;
  __u8 ending;  // goes back to TCP as soon as the reader has taken everything
  __u8 padding[6];
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct sluice_path);
} sluice_paths SEC(".maps");

#define ADD(field, amount)                                                              \
  ({                                                                                    \
    __u32 zero_ = 0;                                                                    \
    struct sluice_short_circuits* all_ = bpf_map_lookup_elem(&sluice_circuits, &zero_); \
    if (all_) __sync_fetch_and_add(&all_->field, (amount));                             \
  })

static __always_inline void count_tcp(__u8 reason) {
  if (reason < SLUICE_TCP_REASONS) ADD(by_tcp[reason], 1);
}

// --- sockops: who the two ends are ---

// Which readers the owner of the connection allows, for the end that connected. *of_daemon: whose end it is.
static __always_inline __u8 asked_by(struct bpf_sock_ops* ctx, struct bpf_sock* sk, const struct sluice_note_key* own,
                                     const struct sluice_exempt_key* key, __u8* of_daemon) {
  struct sluice_connection* steered = bpf_sk_storage_get(&sluice_connections, sk, NULL, 0);
  if (steered && steered->phase == SLUICE_NOTED) {
    *of_daemon = 0;
    return steered->into;
  }
  const __u8* exempt = bpf_map_lookup_elem(&sluice_exempt, key);
  if (!exempt) return 0;
  *of_daemon = 1;
  if (*exempt & SLUICE_EXEMPT_TRIAL) return *exempt & (SLUICE_INTO_DAEMON | SLUICE_INTO_FOREIGN);
  __u32 zero = 0;
  void* endpoints = bpf_map_lookup_elem(&sluice_endpoints, &zero);
  if (!endpoints) return 0;
  int four = sluice_is_mapped(own->remote);
  struct sluice_endpoint_key where = {
      .prefix_bits = SLUICE_ENDPOINT_KEY_BITS + 128,
      .port_be = bpf_htons(own->remote_port),
      .family = four ? SLUICE_IPV4 : SLUICE_IPV6,
      .address = {own->remote[0], own->remote[1], own->remote[2], own->remote[3]},
  };
  if (four) {
    where.address[0] = own->remote[3];
    where.address[2] = 0;
    where.address[3] = 0;
  }
  const struct sluice_endpoint* endpoint = bpf_map_lookup_elem(endpoints, &where);
  return endpoint ? endpoint->into : 0;
}

static __always_inline struct sock* kernel_socket(struct bpf_sock_ops* ctx) {
  struct bpf_sock_ops_kern* kernel_ctx = (struct bpf_sock_ops_kern*)ctx;
  struct sock* sk = NULL;
  bpf_core_read(&sk, sizeof(sk), &kernel_ctx->sk);
  return sk;
}

// A multipath socket's bytes do not go through the subflow's sendmsg; the kernel would take it into a map all the same.
static __always_inline int is_multipath(struct sock* sk) {
  struct tcp_sock* tcp = (struct tcp_sock*)sk;
  return bpf_core_field_exists(tcp->is_mptcp) && BPF_CORE_READ(tcp, is_mptcp);
}

// Puts the socket where its direction wants it. 0 where it is in another owner's map, or the map is full.
static __always_inline int join_maps(struct bpf_sock_ops* ctx, struct sluice_end* end) {
  __u8 reads = end->of_daemon ? SLUICE_INTO_DAEMON : SLUICE_INTO_FOREIGN;
  __u8 writes = end->of_daemon ? SLUICE_INTO_FOREIGN : SLUICE_INTO_DAEMON;
  if (end->into & reads) {
    if (bpf_sock_hash_update(ctx, &sluice_readers, &end->key, BPF_NOEXIST)) return 0;
    end->receives = 1;
  }
  if (!(end->into & writes)) {
    end->way = SLUICE_BY_TCP;
    return 1;
  }
  return bpf_sock_hash_update(ctx, &sluice_writers, &end->key, BPF_NOEXIST) == 0;
}

// The end becomes known. `other` is what is known of the other end already.
static __always_inline void join(struct bpf_sock_ops* ctx, struct bpf_sock* sk, const struct sluice_note_key* own,
                                 struct sluice_end* end, struct sluice_end* other) {
  struct sock* kernel_sk = kernel_socket(ctx);
  if (is_multipath(kernel_sk)) return;
  struct sluice_path* path = bpf_sk_storage_get(&sluice_paths, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (!path) return;  // its option memory is used up
  path->own = *own;
  path->own_cookie = end->key.socket_cookie;
  path->way = SLUICE_UNDECIDED;
  path->reader_is_daemon = !end->of_daemon;
  end->socket = (__u64)kernel_sk;
  if (!join_maps(ctx, end)) {
    end->way = SLUICE_BY_TCP;
    end->reason = SLUICE_TCP_BUSY;
    path->way = SLUICE_BY_TCP;
    count_tcp(SLUICE_TCP_BUSY);
  }
  if (other && other->receives) {
    end->peer_key = other->key;
    end->peer = other->socket;
  }
  // Without its entry an end stays undecided, and that means by TCP.
  if (bpf_map_update_elem(&sluice_ends, own, end, BPF_ANY)) count_tcp(SLUICE_TCP_BUSY);
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
  ADD(ends, 1);
  if (other && end->receives) {
    other->peer_key = end->key;
    other->peer = end->socket;  // whoever reads these two compares cookies before it believes them
  }
}

static __always_inline void connected(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
  struct sluice_note_key own = {};
  sluice_own_tuple(ctx, &own);
  own.netns_cookie = bpf_get_netns_cookie(ctx);
  struct sluice_end end = {};
  end.key.netns_cookie = own.netns_cookie;
  end.key.socket_cookie = bpf_get_socket_cookie(ctx);
  end.into = asked_by(ctx, sk, &own, &end.key, &end.of_daemon);
  if (!end.into) return;
  // What leaves through another device than loopback has its other end on another host.
  if (BPF_CORE_READ(kernel_socket(ctx), sk_dst_cache, dev, ifindex) != LOOPBACK_INDEX) return;
  join(ctx, sk, &own, &end, NULL);
}

static __always_inline void accepted(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
  struct sluice_note_key own = {};
  sluice_own_tuple(ctx, &own);
  own.netns_cookie = bpf_get_netns_cookie(ctx);
  struct sluice_note_key others = {.netns_cookie = own.netns_cookie};
  __builtin_memcpy(others.local, own.remote, sizeof(others.local));
  __builtin_memcpy(others.remote, own.local, sizeof(others.remote));
  others.local_port = own.remote_port;
  others.remote_port = own.local_port;
  struct sluice_end* other = bpf_map_lookup_elem(&sluice_ends, &others);
  if (!other) return;
  struct sluice_end end = {};
  end.key.netns_cookie = own.netns_cookie;
  end.key.socket_cookie = bpf_get_socket_cookie(ctx);
  end.into = other->into;
  end.of_daemon = !other->of_daemon;
  join(ctx, sk, &own, &end, other);
}

// The addresses may be another connection's next. Its entry is not taken away: cookies are never used twice.
static __always_inline void closed(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
  struct sluice_path* path = bpf_sk_storage_get(&sluice_paths, sk, NULL, 0);
  if (!path) return;
  struct sluice_end* end = bpf_map_lookup_elem(&sluice_ends, &path->own);
  if (end && end->key.socket_cookie == bpf_get_socket_cookie(ctx)) bpf_map_delete_elem(&sluice_ends, &path->own);
}

SEC("sockops")
int sluice_ends_of(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 1;
  if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB) {
    connected(ctx, sk);
  } else if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB) {
    accepted(ctx, sk);
  } else if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE) {
    closed(ctx, sk);
  }
  return 1;
}

// --- sk_msg: which way a message goes. Runs with the writer's socket locked. ---

static __always_inline __u64 cookie_of(struct sock* sk) {
  return BPF_CORE_READ(sk, __sk_common.skc_cookie.counter);
}

static __always_inline int is_encrypted(struct sock* sk) {
  return BPF_CORE_READ((struct inet_connection_sock*)sk, icsk_ulp_ops) != NULL;
}

// Tells the daemon, in its own memory, that one of its sockets needs care (SLUICE_NOTICE_SLOTS).
static __always_inline void raise(__u64 cookie) {
  __u32 slot = cookie % SLUICE_NOTICE_SLOTS;
  __u64* notices = bpf_map_lookup_elem(&sluice_notices, &slot);
  if (notices) __sync_fetch_and_add(notices, 1);
}

static __always_inline void settle(struct sluice_path* path, __u32 way, __u8 reason) {
  path->way = way;
  if (way == SLUICE_BY_TCP && path->reader_is_daemon) {
    raise(path->reader_key.socket_cookie);  // before the first byte goes by TCP
  }
  if (way == SLUICE_BY_TCP) {
    count_tcp(reason);
  } else {
    ADD(directions, 1);
  }
  struct sluice_end* end = bpf_map_lookup_elem(&sluice_ends, &path->own);
  if (!end) return;
  end->way = way;
  end->reason = reason;
}

// True where redirecting begins with this message.
static __always_inline int begin(struct sluice_path* path, struct tcp_sock* writer) {
  struct sluice_first_facts facts = {.reader_is_daemon = path->reader_is_daemon, .messages_before = path->messages++};
  const struct sluice_end* end = bpf_map_lookup_elem(&sluice_ends, &path->own);
  facts.encrypted = is_encrypted((struct sock*)writer);
  if (end && end->peer) {
    struct sock* reader = (struct sock*)end->peer;
    path->reader = end->peer;
    path->reader_key = end->peer_key;
    facts.peer_known = cookie_of(reader) == path->reader_key.socket_cookie;
    facts.encrypted = facts.encrypted || is_encrypted(reader);
    facts.sent_up_to = BPF_CORE_READ(writer, write_seq);
    facts.taken_up_to = BPF_CORE_READ((struct tcp_sock*)reader, copied_seq);
    facts.nothing_sent = BPF_CORE_READ(writer, bytes_sent) == 0;
  }
  __u8 reason = SLUICE_TCP_NOT_ASKED;
  __u32 way = sluice_decide_first(&facts, &reason);
  if (way != SLUICE_UNDECIDED) settle(path, way, reason);
  return way == SLUICE_REDIRECTED;
}

// SK_DROP is of no use: the kernel keeps that verdict for all that follows.
SEC("sk_msg")
int sluice_redirect(struct sk_msg_md* msg) {
  struct bpf_sock* sk = msg->sk;
  struct sluice_path* path = bpf_sk_storage_get(&sluice_paths, sk, NULL, 0);
  if (!path || path->way == SLUICE_BY_TCP) return SK_PASS;
  struct tcp_sock* writer = bpf_skc_to_tcp_sock(sk);
  if (!writer) return SK_PASS;  // the maps take no other sockets
  if (path->way == SLUICE_UNDECIDED && !begin(path, writer)) return SK_PASS;

  struct sock* reader = (struct sock*)path->reader;
  if (is_encrypted((struct sock*)writer) || (!path->reader_is_daemon && is_encrypted(reader))) {
    settle(path, SLUICE_BY_TCP, SLUICE_TCP_ENCRYPTED);
    return SK_PASS;
  }
  // Where the reader is gone its memory may be another socket's: the figures are wrong then, and harmless, because the
  // look-up by its cookie fails.
  __u32 queued = BPF_CORE_READ(reader, sk_backlog.rmem_alloc.counter);
  __u32 size = msg->size;
  if (!path->ending && !sluice_has_room(queued, size, BPF_CORE_READ(reader, sk_rcvbuf))) {
    path->ending = 1;
    if (!path->reader_is_daemon) raise(path->own_cookie);
  }
  if (path->ending && sluice_may_end(path->reader_is_daemon, queued)) {
    settle(path, SLUICE_BY_TCP, SLUICE_TCP_FULL);
    return SK_PASS;
  }
  if (bpf_msg_redirect_hash(msg, &sluice_readers, &path->reader_key, BPF_F_INGRESS) != SK_PASS) {
    settle(path, SLUICE_BY_TCP, SLUICE_TCP_PEER_GONE);
    return SK_PASS;
  }
  ADD(messages, 1);
  ADD(bytes, size);
  return SK_PASS;
}
