/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * The few kernel structures whose fields the programs read, with only those fields. libbpf relocates each access to the
 * running kernel (CO-RE), so that no vmlinux.h is needed to build.
 */
#ifndef SLUICE_BPF_KERNEL_TYPES_H
#define SLUICE_BPF_KERNEL_TYPES_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
  __u32 s_dev;
};

struct inode {
  struct super_block* i_sb;
  unsigned long i_ino;
};

struct file {
  struct inode* f_inode;
};

struct mm_struct {
  struct file* exe_file;
};

struct task_struct {
  struct task_struct* group_leader;
  struct task_struct* real_parent;
  struct mm_struct* mm;
  __u64 start_boottime;
  __u64 self_exec_id;
  int tgid;
};

struct sock_common {
  unsigned char skc_ipv6only : 1;
};

struct sock {
  struct sock_common __sk_common;
};

struct bpf_sock_addr_kern {
  struct sock* sk;
  void* uaddr;
};

struct bpf_sock_ops_kern {
  struct sock* sk;
};

struct tcp_sock {
  _Bool is_mptcp;
};

#pragma clang attribute pop

#endif
