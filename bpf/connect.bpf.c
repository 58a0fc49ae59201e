// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
// cgroup/connect4 and connect6: leads TCP connects to protected endpoints into the daemon, or decides in its absence.
// Runs in the context of the connecting task with its socket locked. Everything unforeseen on a matched connect
// refuses.
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "connection_maps.h"
#include "decide.h"
#include "kernel_types.h"
#include "note_maps.h"
#include "steering_maps.h"

#define SOCK_STREAM 1
#define SOL_SOCKET 1
#define SO_BINDTODEVICE 25
#define ECONNREFUSED 111
#define LOOPBACK_INDEX 1 /* the kernel's LOOPBACK_IFINDEX */

#define LET_THROUGH 1
#define STOP 0 /* EPERM, or what bpf_set_retval() said */

char sluice_license[] SEC("license") = "Dual BSD/GPL";

// Set by the loader from what it found by trying: 5.18 brought bpf_set_retval.
const volatile __u8 has_set_retval = 0;

static __always_inline int is_tcp(const struct bpf_sock_addr* ctx) {
  return ctx->type == SOCK_STREAM && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_MPTCP);
}

static __always_inline const struct sluice_endpoint* find_endpoint(const struct sluice_destination* destination) {
  __u32 zero = 0;
  void* endpoints = bpf_map_lookup_elem(&sluice_endpoints, &zero);
  if (!endpoints) return NULL;
  struct sluice_endpoint_key key = {
      .prefix_bits = SLUICE_ENDPOINT_KEY_BITS + 128,
      .port_be = destination->port_be,
      .family = destination->family,
      .address = {destination->address[0], destination->address[1], destination->address[2], destination->address[3]},
  };
  return bpf_map_lookup_elem(endpoints, &key);
}

static __always_inline int refuse(__u32 slot, __u32 reason) {
  if (reason >= SLUICE_REFUSALS) reason = SLUICE_REFUSED_DOWN;
  SLUICE_COUNT(slot, refused[reason], 1);
  if (has_set_retval && reason != SLUICE_REFUSED_ELSEWHERE) bpf_set_retval(-ECONNREFUSED);
  return STOP;
}

// Who connects, from the kernel's own structures: nothing here can be set by the process itself.
static __always_inline void note_identity(struct sluice_note* note) {
  struct task_struct* task = (struct task_struct*)bpf_get_current_task();
  struct task_struct* leader = BPF_CORE_READ(task, group_leader);
  __u64 uid_gid = bpf_get_current_uid_gid();
  note->pid = bpf_get_current_pid_tgid() >> 32;
  note->parent_pid = BPF_CORE_READ(leader, real_parent, tgid);
  note->uid = (__u32)uid_gid;
  note->gid = uid_gid >> 32;
  note->cgroup_id = bpf_get_current_cgroup_id();
  note->start_boottime_ns = BPF_CORE_READ(leader, start_boottime);
  note->exec_id = BPF_CORE_READ(leader, self_exec_id);
  note->exe_inode = BPF_CORE_READ(leader, mm, exe_file, f_inode, i_ino);
  note->exe_device = BPF_CORE_READ(leader, mm, exe_file, f_inode, i_sb, s_dev);
}

// Whether a note could be stored right now. sock_ops cannot refuse a connection, so a full map must be noticed here.
static __always_inline int notes_have_room(const struct sluice_note* note) {
  struct sluice_note_key probe = {.netns_cookie = 0};  // no namespace has this cookie
  probe.local[0] = (__u32)note->socket_cookie;
  probe.local[1] = note->socket_cookie >> 32;
  if (bpf_map_update_elem(&sluice_notes, &probe, note, BPF_ANY)) return 0;
  bpf_map_delete_elem(&sluice_notes, &probe);
  return 1;
}

// Whether the socket is one of the daemon's own: made known by it, and connected from within its cgroup.
static __always_inline int is_exempt(__u64 netns_cookie, __u64 socket_cookie, const struct sluice_settings* settings) {
  if (settings->daemon_cgroup == 0 || settings->daemon_cgroup != bpf_get_current_cgroup_id()) return 0;
  struct sluice_exempt_key key = {.netns_cookie = netns_cookie, .socket_cookie = socket_cookie};
  return bpf_map_lookup_elem(&sluice_exempt, &key) != NULL;
}

// Port of the listener for this namespace and family, in host order; 0 where there is none.
static __always_inline __u16 listener_port(__u64 netns_cookie, __u32 family) {
  struct sluice_listener_key key = {.netns_cookie = netns_cookie, .family = family};
  struct bpf_sock* listener = bpf_map_lookup_elem(&sluice_listeners, &key);
  if (!listener) return 0;
  __u16 port = listener->state == BPF_TCP_LISTEN ? listener->src_port : 0;
  bpf_sk_release(listener);
  return port;
}

// A socket bound to another device cannot reach loopback: the SYN would leave through that device and time out.
static __always_inline int clear_bound_device(struct bpf_sock_addr* ctx, __u32 bound_device) {
  if (bound_device == 0 || bound_device == LOOPBACK_INDEX) return 1;
  char none[1] = {0};
  return bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTODEVICE, none, sizeof(none)) == 0;
}

struct steering {
  struct sluice_destination destination;
  __u16 family; /* of the listener that the socket can reach */
  __u8 source_bound;
  __u8 padding;
  __u32 scope; /* of a link-local destination; 0: not known */
};

// Everything that is true about this connect, for sluice_decide(). *port gets the listener's, 0 where there is none.
static __always_inline void gather_facts(struct bpf_sock_addr* ctx, const struct steering* wish,
                                         const struct sluice_endpoint* endpoint, const struct sluice_settings* settings,
                                         __u64 netns_cookie, struct sluice_facts* facts, __u16* port) {
  *port = listener_port(netns_cookie, wish->family);
  facts->exempt = is_exempt(netns_cookie, bpf_get_socket_cookie(ctx), settings);
  facts->refused_elsewhere = has_set_retval && bpf_get_retval() < 0;
  facts->listener = *port != 0;
  facts->heartbeat_fresh = sluice_heartbeat_fresh(settings->heartbeat_ns, bpf_ktime_get_ns());
  facts->own_netns = netns_cookie == settings->daemon_netns;
  facts->when_down = endpoint->when_down;
  facts->scope_missing =
      wish->destination.family == SLUICE_IPV6 && sluice_is_link_local6(wish->destination.address) && wish->scope == 0;
}

static __always_inline void fill_note(struct bpf_sock_addr* ctx, const struct steering* wish,
                                      const struct sluice_endpoint* endpoint, __u64 netns_cookie, __u32 bound_device,
                                      struct sluice_note* note) {
  __builtin_memset(note, 0, sizeof(*note));
  note_identity(note);
  note->generation = endpoint->generation;
  note->target = endpoint->target;
  note->netns_cookie = netns_cookie;
  note->socket_cookie = bpf_get_socket_cookie(ctx);
  note->connect_ktime_ns = bpf_ktime_get_ns();
  note->bound_device = bound_device;
  note->original_scope = wish->scope;
  note->original_family = wish->destination.family;
  note->original_port = bpf_ntohs(wish->destination.port_be);
  __builtin_memcpy(note->original, wish->destination.address, sizeof(note->original));
}

// What the socket shows from now on, and where it really goes.
static __always_inline void fill_names(struct sluice_connection* state, const struct steering* wish,
                                       const struct sluice_endpoint* endpoint, __u16 port) {
  state->slot = endpoint->slot;
  state->source_bound = wish->source_bound;
  state->source_known = endpoint->source_known;
  state->into = endpoint->into;
  __builtin_memcpy(state->source, endpoint->source, sizeof(state->source));
  __builtin_memset(&state->key, 0, sizeof(state->key));
  state->key.netns_cookie = state->note.netns_cookie;
  state->key.remote_port = port;
  if (wish->family == SLUICE_IPV4) {
    state->key.remote[2] = SLUICE_BE32(0xffffu);
    state->key.remote[3] = sluice_redirect_address_be(state->note.socket_cookie);
  } else {
    state->key.remote[3] = SLUICE_BE32(1u);
  }
  state->phase = SLUICE_STEERED;
}

// Decides on a connect to `endpoint`. Where it is redirected *connection is the socket's state, with the new
// destination.
static __always_inline int steer(struct bpf_sock_addr* ctx, struct bpf_sock* sk, const struct steering* wish,
                                 const struct sluice_endpoint* endpoint, struct sluice_connection** connection) {
  __u32 zero = 0;
  __u32 slot = endpoint->slot;
  const struct sluice_settings* settings = bpf_map_lookup_elem(&sluice_settings, &zero);
  if (!settings) return STOP;  // an array element is always there
  __u64 netns_cookie = bpf_get_netns_cookie(ctx);
  if (endpoint->scope == SLUICE_OWN_NETNS && netns_cookie != settings->daemon_netns) {
    return LET_THROUGH;  // an alias of this host's means another host there
  }

  SLUICE_COUNT(slot, connects, 1);
  struct sluice_facts facts = {};
  __u16 port = 0;
  gather_facts(ctx, wish, endpoint, settings, netns_cookie, &facts, &port);
  __u32 refusal = SLUICE_REFUSED_DOWN;
  switch (sluice_decide(&facts, &refusal)) {
    case SLUICE_EXEMPT:
      SLUICE_COUNT(slot, exempt, 1);
      return LET_THROUGH;
    case SLUICE_UNCOVERED:
      SLUICE_COUNT(slot, uncovered, 1);
      return LET_THROUGH;
    case SLUICE_REFUSE:
      return refuse(slot, refusal);
    case SLUICE_REDIRECT:
      break;
  }

  struct sluice_connection* state = bpf_sk_storage_get(&sluice_connections, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
  if (!state) return refuse(slot, SLUICE_REFUSED_NO_STORAGE);
  __u32 bound_device = sk->bound_dev_if;
  fill_note(ctx, wish, endpoint, netns_cookie, bound_device, &state->note);
  if (!notes_have_room(&state->note)) return refuse(slot, SLUICE_REFUSED_NOTES_FULL);
  if (!clear_bound_device(ctx, bound_device)) return refuse(slot, SLUICE_REFUSED_BOUND_DEVICE);
  fill_names(state, wish, endpoint, port);
  SLUICE_COUNT(slot, redirected, 1);
  *connection = state;
  return LET_THROUGH;
}

// A socket that connects again carries nothing over from an earlier connect.
static __always_inline void forget_earlier(struct bpf_sock* sk) {
  struct sluice_connection* state = bpf_sk_storage_get(&sluice_connections, sk, NULL, 0);
  if (state) state->phase = SLUICE_NOT_STEERED;
}

SEC("cgroup/connect4")
int sluice_connect4(struct bpf_sock_addr* ctx) {
  if (!is_tcp(ctx)) return LET_THROUGH;
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return LET_THROUGH;  // the kernel always gives one here
  forget_earlier(sk);
  struct steering wish = {.family = SLUICE_IPV4};
  __u32 source = sk->src_ip4;
  wish.source_bound = source != 0;
  sluice_normalise4(ctx->user_ip4, source, (__u16)ctx->user_port, &wish.destination);
  const struct sluice_endpoint* endpoint = find_endpoint(&wish.destination);
  if (!endpoint) return LET_THROUGH;
  struct sluice_connection* connection = NULL;
  int outcome = steer(ctx, sk, &wish, endpoint, &connection);
  if (connection) {
    ctx->user_ip4 = connection->key.remote[3];
    ctx->user_port = bpf_htons(connection->key.remote_port);
  }
  return outcome;
}

SEC("cgroup/connect6")
int sluice_connect6(struct bpf_sock_addr* ctx) {
  if (!is_tcp(ctx)) return LET_THROUGH;
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return LET_THROUGH;
  forget_earlier(sk);
  struct steering wish = {};
  __u32 wanted[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
  __u32 source[4] = {sk->src_ip6[0], sk->src_ip6[1], sk->src_ip6[2], sk->src_ip6[3]};
  wish.source_bound = !sluice_is_any6(source);
  sluice_normalise6(wanted, source, (__u16)ctx->user_port, &wish.destination);
  const struct sluice_endpoint* endpoint = find_endpoint(&wish.destination);
  if (!endpoint) return LET_THROUGH;

  // V6ONLY and the scope are not in the program's view of the socket; they are read from the kernel's.
  struct bpf_sock_addr_kern* kernel_ctx = (struct bpf_sock_addr_kern*)ctx;
  struct sock* kernel_sk = NULL;
  struct sockaddr_in6* address = NULL;
  bpf_core_read(&kernel_sk, sizeof(kernel_sk), &kernel_ctx->sk);
  bpf_core_read(&address, sizeof(address), &kernel_ctx->uaddr);
  struct sock_common* common = (struct sock_common*)kernel_sk;
  int v6only = BPF_CORE_READ_BITFIELD_PROBED(common, skc_ipv6only);
  wish.family = sluice_redirect_family(&wish.destination, source, v6only);
  if (sluice_is_link_local6(wish.destination.address)) {
    bpf_probe_read_kernel(&wish.scope, sizeof(wish.scope), &address->sin6_scope_id);
    if (wish.scope == 0) wish.scope = sk->bound_dev_if;
  }

  struct sluice_connection* connection = NULL;
  int outcome = steer(ctx, sk, &wish, endpoint, &connection);
  if (connection) {
    ctx->user_ip6[0] = 0;
    ctx->user_ip6[1] = 0;
    ctx->user_ip6[2] = connection->key.remote[2];
    ctx->user_ip6[3] = connection->key.remote[3];
    ctx->user_port = bpf_htons(connection->key.remote_port);
  }
  return outcome;
}
