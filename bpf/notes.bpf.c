// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
// sockops: when the SYN of a steered connection is about to go, its local port is known, and the note goes into the map
// by which the daemon finds it on accept. When the connection ends before that, the note goes with it: another
// connection with the same addresses must not inherit it.
#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "connection_maps.h"
#include "decide.h"
#include "kernel_types.h"
#include "note_maps.h"
#include "own_tuple.h"

// Set by the loader from what it found by trying: 5.15 brought the cookie to sock_ops.
const volatile __u8 has_sockops_netns_cookie = 0;

// Nobody steered this connection: where it goes to the redirect addresses, it must not find a note that was left
// behind.
static __always_inline void remove_stale_note(struct bpf_sock_ops* ctx) {
  if (!has_sockops_netns_cookie) return;
  struct sluice_note_key key = {};
  sluice_own_tuple(ctx, &key);
  int to_redirect = sluice_is_mapped(key.remote) ? sluice_is_redirect4(key.remote[3]) : sluice_is_loopback6(key.remote);
  if (!to_redirect) return;
  key.netns_cookie = bpf_get_netns_cookie(ctx);
  bpf_map_delete_elem(&sluice_notes, &key);
}

// The application's MPTCP socket is another one than the subflow that connects, so its names are found by address.
static __always_inline void remember_mptcp_names(struct bpf_sock_ops* ctx, const struct sluice_connection* state) {
  struct tcp_sock* tcp = NULL;
  struct bpf_sock_ops_kern* kernel_ctx = (struct bpf_sock_ops_kern*)ctx;
  bpf_core_read(&tcp, sizeof(tcp), &kernel_ctx->sk);
  if (!bpf_core_field_exists(tcp->is_mptcp) || !BPF_CORE_READ(tcp, is_mptcp)) return;
  struct sluice_shown shown = {
      .original_family = state->note.original_family,
      .original_port = state->note.original_port,
      .source_bound = state->source_bound,
      .source_known = state->source_known,
  };
  __builtin_memcpy(shown.original, state->note.original, sizeof(shown.original));
  __builtin_memcpy(shown.source, state->source, sizeof(shown.source));
  bpf_map_update_elem(&sluice_mptcp_names, &state->key, &shown, BPF_ANY);
}

static __always_inline void put_note(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
  struct sluice_connection* state = bpf_sk_storage_get(&sluice_connections, sk, NULL, 0);
  if (!state || state->phase != SLUICE_STEERED) {
    remove_stale_note(ctx);
    return;
  }
  sluice_own_tuple(ctx, &state->key);
  if (bpf_map_update_elem(&sluice_notes, &state->key, &state->note, BPF_ANY)) {
    // Full since the connect hook looked. The daemon resets what it accepts without a note; the counters say so.
    SLUICE_COUNT(state->slot, redirected, -1ull);
    SLUICE_COUNT(state->slot, refused[SLUICE_REFUSED_NOTES_FULL], 1);
    return;
  }
  state->phase = SLUICE_NOTED;
  remember_mptcp_names(ctx, state);
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

// The connection ended on the client's side: its note goes, so that no other connection with these addresses inherits
// it. A client that sent and closed in good order is another matter: the kernel keeps its FIN_WAIT2 as a mere time-wait
// entry and calls that closed, while the daemon has yet to accept and read. That note stays: the next connect from
// these addresses overwrites or removes it, and the daemon sweeps what nobody accepts.
static __always_inline void drop_note(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
  if (ctx->args[0] == BPF_TCP_FIN_WAIT2 && has_sockops_netns_cookie) return;
  struct sluice_connection* state = bpf_sk_storage_get(&sluice_connections, sk, NULL, 0);
  if (state && state->phase == SLUICE_NOTED) bpf_map_delete_elem(&sluice_notes, &state->key);
}

SEC("sockops")
int sluice_sockops(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 1;
  if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB) {
    put_note(ctx, sk);
  } else if (ctx->op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE) {
    drop_note(ctx, sk);
  }
  return 1;
}
