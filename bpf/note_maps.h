/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * Notes on their way to the daemon, and the counters. Maps that several programs share are weak: each object file
 * names them and the linker (bpftool gen object) makes them one. All maps are pinned.
 */
#ifndef SLUICE_BPF_NOTE_MAPS_H
#define SLUICE_BPF_NOTE_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/* Not an LRU: that would evict the note of a live connection. A full map refuses. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, SLUICE_NOTES_MAX);
  __type(key, struct sluice_note_key);
  __type(value, struct sluice_note);
} sluice_notes SEC(".maps") __weak;

/* By slot. A hash that takes memory for the slots in use alone: an array for all of them would be 3 MB for each CPU. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLUICE_TARGETS_MAX);
  __type(key, __u32);
  __type(value, struct sluice_counters);
} sluice_counters SEC(".maps") __weak;

/* Adds to a counter of a target. Atomic: programs of one CPU can be preempted by each other. */
#define SLUICE_COUNT(slot_, field, amount)                                                 \
  ({                                                                                       \
    __u32 slot_key_ = (slot_);                                                             \
    struct sluice_counters* counters_ = bpf_map_lookup_elem(&sluice_counters, &slot_key_); \
    if (counters_) __sync_fetch_and_add(&counters_->field, (amount));                      \
  })

#endif
