/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What the daemon tells the connect hooks: targets, listeners, its own sockets. All maps are pinned; settings and names
 * outlive a restart of the daemon.
 */
#ifndef SLUICE_BPF_STEERING_MAPS_H
#define SLUICE_BPF_STEERING_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Endpoints of all targets. Lookups see one whole set or the other: set_targets() swaps the inner map. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
  __uint(max_entries, 1);
  __type(key, __u32);
  __array(
      values, struct {
        __uint(type, BPF_MAP_TYPE_LPM_TRIE);
        __uint(max_entries, SLUICE_ENDPOINTS_MAX);
        __uint(map_flags, BPF_F_NO_PREALLOC);
        __uint(key_size, sizeof(struct sluice_endpoint_key));
        __uint(value_size, sizeof(struct sluice_endpoint));
      });
} sluice_endpoints SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, __u32);
  __type(value, struct sluice_settings);
} sluice_settings SEC(".maps");

/* The kernel takes a listener out when its last descriptor closes: that is how a killed daemon is noticed at once. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, SLUICE_LISTENERS_MAX);
  __type(key, struct sluice_listener_key);
  __type(value, __u64);
} sluice_listeners SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLUICE_EXEMPT_MAX);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct sluice_exempt_key);
  __type(value, __u8);
} sluice_exempt SEC(".maps");

/* Name of a target to its counter slot; only the daemon reads and writes it. */
struct sluice_name {
  char text[SLUICE_NAME_BYTES_MAX];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLUICE_TARGETS_MAX);
  __type(key, struct sluice_name);
  __type(value, __u32);
} sluice_names SEC(".maps");

#endif
