/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * The addresses of a socket as sock_ops shows them, in the one form in which maps are keyed by them: IPv4 is v4-mapped.
 * The namespace's cookie is the caller's to fill in.
 */
#ifndef SLUICE_BPF_OWN_TUPLE_H
#define SLUICE_BPF_OWN_TUPLE_H

#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "decide.h"

static __always_inline void sluice_own_tuple(struct bpf_sock_ops* ctx, struct sluice_note_key* key) {
  __u32 local4 = ctx->local_ip4;
  __u32 remote4 = ctx->remote_ip4;
  barrier_var(
      local4);  // else the compiler makes one load of a pointer that depends on the branch, which is not verifiable
  barrier_var(remote4);
  key->local_port = ctx->local_port;
  key->remote_port = bpf_ntohl(ctx->remote_port);
  if (ctx->family == SLUICE_IPV6) {
    key->local[0] = ctx->local_ip6[0];
    key->local[1] = ctx->local_ip6[1];
    key->local[2] = ctx->local_ip6[2];
    key->local[3] = ctx->local_ip6[3];
    key->remote[0] = ctx->remote_ip6[0];
    key->remote[1] = ctx->remote_ip6[1];
    key->remote[2] = ctx->remote_ip6[2];
    key->remote[3] = ctx->remote_ip6[3];
  } else {
    key->local[0] = 0;
    key->local[1] = 0;
    key->local[2] = SLUICE_BE32(0xffffu);
    key->local[3] = local4;
    key->remote[0] = 0;
    key->remote[1] = 0;
    key->remote[2] = SLUICE_BE32(0xffffu);
    key->remote[3] = remote4;
  }
}

#endif
