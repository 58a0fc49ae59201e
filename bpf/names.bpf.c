// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
// cgroup/getpeername and getsockname: a steered socket shows where its owner wanted to go, and the address that a
// direct connection would have had. Only what is shown changes here; nothing is decided by it.
#include <linux/bpf.h>
#include <linux/in.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "connection_maps.h"
#include "decide.h"

// The addresses by which an MPTCP socket's names are found. One function per family: the verifier does not take a
// pointer into the socket that depends on a branch.
static __always_inline void client_tuple4(struct bpf_sock* sk, struct sluice_note_key* key) {
  key->local_port = sk->src_port;
  key->remote_port = bpf_ntohs(sk->dst_port);
  key->local[2] = SLUICE_BE32(0xffffu);
  key->local[3] = sk->src_ip4;
  key->remote[2] = SLUICE_BE32(0xffffu);
  key->remote[3] = sk->dst_ip4;
}

static __always_inline void client_tuple6(struct bpf_sock* sk, struct sluice_note_key* key) {
  key->local_port = sk->src_port;
  key->remote_port = bpf_ntohs(sk->dst_port);
  key->local[0] = sk->src_ip6[0];
  key->local[1] = sk->src_ip6[1];
  key->local[2] = sk->src_ip6[2];
  key->local[3] = sk->src_ip6[3];
  key->remote[0] = sk->dst_ip6[0];
  key->remote[1] = sk->dst_ip6[1];
  key->remote[2] = sk->dst_ip6[2];
  key->remote[3] = sk->dst_ip6[3];
}

// What this socket shows; 0 where it was not steered. `family` is a constant: that of the hook.
static __always_inline int shown_names(struct bpf_sock_addr* ctx, __u32 family, struct sluice_shown* shown) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 0;
  if (ctx->protocol == IPPROTO_MPTCP) {
    struct sluice_note_key key = {.netns_cookie = bpf_get_netns_cookie(ctx)};
    if (family == SLUICE_IPV4) {
      client_tuple4(sk, &key);
    } else {
      client_tuple6(sk, &key);
    }
    const struct sluice_shown* found = bpf_map_lookup_elem(&sluice_mptcp_names, &key);
    if (!found) return 0;
    *shown = *found;
    return 1;
  }
  const struct sluice_connection* state = bpf_sk_storage_get(&sluice_connections, sk, NULL, 0);
  if (!state || state->phase == SLUICE_NOT_STEERED) return 0;
  shown->original_family = state->note.original_family;
  shown->original_port = state->note.original_port;
  shown->source_bound = state->source_bound;
  shown->source_known = state->source_known;
  __builtin_memcpy(shown->original, state->note.original, sizeof(shown->original));
  __builtin_memcpy(shown->source, state->source, sizeof(shown->source));
  return 1;
}

static __always_inline void show6(struct bpf_sock_addr* ctx, __u16 family, const __u32 address[4]) {
  if (family == SLUICE_IPV4) {
    ctx->user_ip6[0] = 0;
    ctx->user_ip6[1] = 0;
    ctx->user_ip6[2] = SLUICE_BE32(0xffffu);
    ctx->user_ip6[3] = address[0];
  } else {
    ctx->user_ip6[0] = address[0];
    ctx->user_ip6[1] = address[1];
    ctx->user_ip6[2] = address[2];
    ctx->user_ip6[3] = address[3];
  }
}

SEC("cgroup/getpeername4")
int sluice_getpeername4(struct bpf_sock_addr* ctx) {
  struct sluice_shown shown = {};
  if (!sluice_is_redirect4(ctx->user_ip4) || !shown_names(ctx, SLUICE_IPV4, &shown)) return 1;
  if (shown.original_family != SLUICE_IPV4) return 1;
  ctx->user_ip4 = shown.original[0];
  ctx->user_port = bpf_htons(shown.original_port);
  return 1;
}

SEC("cgroup/getpeername6")
int sluice_getpeername6(struct bpf_sock_addr* ctx) {
  struct sluice_shown shown = {};
  __u32 peer[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
  int redirected = sluice_is_mapped(peer) ? sluice_is_redirect4(peer[3]) : sluice_is_loopback6(peer);
  if (!redirected || !shown_names(ctx, SLUICE_IPV6, &shown)) return 1;
  show6(ctx, shown.original_family, shown.original);
  ctx->user_port = bpf_htons(shown.original_port);
  return 1;
}

SEC("cgroup/getsockname4")
int sluice_getsockname4(struct bpf_sock_addr* ctx) {
  struct sluice_shown shown = {};
  if (!sluice_is_loopback4(ctx->user_ip4) || !shown_names(ctx, SLUICE_IPV4, &shown)) return 1;
  if (!sluice_hide_source4(ctx->user_ip4, shown.source_bound)) return 1;
  if (shown.original_family == SLUICE_IPV4 && shown.source_known) ctx->user_ip4 = shown.source[0];
  return 1;
}

SEC("cgroup/getsockname6")
int sluice_getsockname6(struct bpf_sock_addr* ctx) {
  struct sluice_shown shown = {};
  __u32 own[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
  if (!sluice_hide_source6(own, 0) || !shown_names(ctx, SLUICE_IPV6, &shown)) return 1;
  if (!sluice_hide_source6(own, shown.source_bound)) return 1;
  if (shown.source_known) {
    show6(ctx, shown.original_family, shown.source);
  } else if (shown.original_family == SLUICE_IPV6) {
    __u32 loopback[4] = {0, 0, 0, SLUICE_BE32(1u)};  // a v4-mapped name would contradict the peer's
    show6(ctx, SLUICE_IPV6, loopback);
  }
  return 1;
}
