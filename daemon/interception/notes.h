// Finds the note of an accepted connection: its key from the socket's addresses, its content as a ConnectNote.
// Stateless; any thread.
#pragma once

#include <optional>

#include "bpf/abi.h"
#include "daemon/interception/steering.h"

namespace sluice::interception {

// The key under which the client's kernel side left the note: the client's view of the addresses. Empty where the
// socket is not a connected TCP socket.
[[nodiscard]] std::optional<sluice_note_key> note_key_of(int accepted_fd);

[[nodiscard]] ConnectNote to_connect_note(const sluice_note& note);

}  // namespace sluice::interception
