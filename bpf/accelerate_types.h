/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * The kernel structures that the short-circuit reads, with only the fields that it needs. libbpf relocates each access
 * to the running kernel (CO-RE).
 */
#ifndef SLUICE_BPF_ACCELERATE_TYPES_H
#define SLUICE_BPF_ACCELERATE_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
  long long counter;
} atomic64_t;

typedef struct {
  int counter;
} atomic_t;

struct sock_common {
  atomic64_t skc_cookie;
};

struct net_device {
  int ifindex;
};

struct dst_entry {
  struct net_device* dev;
};

struct sock {
  struct sock_common __sk_common;
  struct {
    atomic_t rmem_alloc;
  } sk_backlog;
  int sk_rcvbuf;
  struct dst_entry* sk_dst_cache;
};

struct tcp_ulp_ops;

struct inet_connection_sock {
  const struct tcp_ulp_ops* icsk_ulp_ops;
};

struct tcp_sock {
  struct inet_connection_sock inet_conn;
  __u32 write_seq;
  __u32 copied_seq;
  __u64 bytes_sent;
  _Bool is_mptcp;
};

struct bpf_sock_ops_kern {
  struct sock* sk;
};

#pragma clang attribute pop

#endif
