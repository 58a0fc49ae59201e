/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/*
 * What a steered client socket carries from connect to its end. Maps that several programs share are weak: each object
 * file names them and the linker (bpftool gen object) makes them one. All maps are pinned.
 */
#ifndef SLUICE_BPF_CONNECTION_MAPS_H
#define SLUICE_BPF_CONNECTION_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "abi.h"

/* What a steered client socket carries. */
struct sluice_connection {
  __u32 phase; /* enum sluice_phase */
  __u32 slot;
  __u8 source_bound; /* by the client itself: shown as it is */
  __u8 source_known;
  __u8 into; /* SLUICE_INTO_*, of the endpoint */
  __u8 padding[5];
  __u32 source[4]; /* family of note.original_family */
  struct sluice_note_key key;
  struct sluice_note note;
};

enum sluice_phase {
  SLUICE_NOT_STEERED = 0,
  SLUICE_STEERED = 1, /* connect() rewritten */
  SLUICE_NOTED = 2,   /* SYN about to go, note in the map */
};

struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct sluice_connection);
} sluice_connections SEC(".maps") __weak;

/* The names that an MPTCP socket shows: its storage lives on the subflow, which getpeername does not see. */
struct sluice_shown {
  __u32 original[4];
  __u32 source[4];
  __u16 original_family;
  __u16 original_port;
  __u8 source_bound;
  __u8 source_known;
  __u8 padding[2];
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, SLUICE_MPTCP_NAMES_MAX);
  __type(key, struct sluice_note_key);
  __type(value, struct sluice_shown);
} sluice_mptcp_names SEC(".maps") __weak;

#endif
