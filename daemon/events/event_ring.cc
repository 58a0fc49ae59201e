#include "daemon/events/event_ring.h"

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace sluice::events {
namespace {

static_assert((EventRing::kSlots & (EventRing::kSlots - 1)) == 0);

// An eventfd that cannot take another write is already readable, which is all that is wanted.
void signal(int fd) {
  if (fd < 0) return;
  const uint64_t one = 1;
  while (::write(fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

struct Slot {
  uint32_t size = 0;
  EventType type = EventType::daemon_started;
  bool context = false;
  bool is_inline = true;
  uint64_t session = 0;
  StoredTextRef text;
  std::string large;  // events beyond kInlineBytes
  char bytes[EventRing::kInlineBytes];
};

}  // namespace

struct EventRing::Impl {
  explicit Impl(int fd) : slots(kSlots), durable_fd(fd) {}

  Slot& slot(uint64_t sequence) { return slots[(sequence - 1) & (kSlots - 1)]; }

  std::vector<Slot> slots;
  const int durable_fd;
  int writer_fd = -1;

  // Written by the producer.
  alignas(64) std::atomic<uint64_t> published{0};
  uint64_t released_seen = 0;  // the producer's last look at `released`
  std::atomic<uint64_t> requested{0};
  // Written by the consumer.
  alignas(64) std::atomic<uint64_t> released{0};
  std::atomic<uint64_t> durable{0};
  std::atomic<uint64_t> drained{0};
  std::atomic<LogState> state{LogState::healthy};
  alignas(64) std::atomic<bool> writer_sleeping{false};

  void wake_writer() {
    // Pairs with set_writer_sleeping(). Both exchange, so one comes after the other: either we see the writer asleep,
    // or it sees what was published before when it looks once more.
    if (writer_sleeping.exchange(false, std::memory_order_acq_rel)) signal(writer_fd);
  }
};

EventRing::EventRing(int durable_fd) : impl_(std::make_unique<Impl>(durable_fd)) {}
EventRing::~EventRing() = default;

std::optional<uint64_t> EventRing::publish(EncodedEvent& event) {
  Impl& ring = *impl_;
  const uint64_t sequence = ring.published.load(std::memory_order_relaxed) + 1;
  if (sequence - ring.released_seen > kSlots) {
    ring.released_seen = ring.released.load(std::memory_order_acquire);
    if (sequence - ring.released_seen > kSlots) {
      ring.wake_writer();
      return std::nullopt;
    }
  }
  Slot& slot = ring.slot(sequence);
  slot.size = static_cast<uint32_t>(event.bytes.size());
  slot.type = event.type;
  slot.context = event.context;
  slot.session = event.session;
  slot.text = std::move(event.text);
  slot.is_inline = event.bytes.size() <= kInlineBytes;
  if (slot.is_inline) {
    std::memcpy(slot.bytes, event.bytes.data(), event.bytes.size());
  } else {
    slot.large = std::move(event.bytes);
  }
  ring.published.store(sequence, std::memory_order_release);
  // Half full, and then every eighth of the ring: the writer may have gone to sleep again in between.
  const uint64_t used = sequence - ring.released_seen;
  if (used >= kSlots / 2 && used % (kSlots / 8) == 0) {
    ring.released_seen = ring.released.load(std::memory_order_acquire);
    if (sequence - ring.released_seen >= kSlots / 2) ring.wake_writer();
  }
  return sequence;
}

size_t EventRing::free_slots() const {
  return kSlots - (impl_->published.load(std::memory_order_relaxed) - impl_->released.load(std::memory_order_acquire));
}

uint64_t EventRing::durable() const {
  return impl_->durable.load(std::memory_order_acquire);
}
LogState EventRing::state() const {
  return impl_->state.load(std::memory_order_acquire);
}

void EventRing::request_durable(uint64_t sequence) {
  Impl& ring = *impl_;
  if (ring.requested.load(std::memory_order_relaxed) >= sequence &&
      ring.durable.load(std::memory_order_acquire) < sequence) {
    return;  // already asked for
  }
  ring.requested.store(std::max(sequence, ring.requested.load(std::memory_order_relaxed)), std::memory_order_seq_cst);
  ring.wake_writer();
  // Pairs with mark_durable() (store, then load, all sequentially consistent): if it did not see the request, we see
  // what it marked, and tell ourselves.
  if (ring.durable.load(std::memory_order_seq_cst) >= sequence) signal(ring.durable_fd);
}

uint64_t EventRing::published() const {
  return impl_->published.load(std::memory_order_acquire);
}

EventView EventRing::at(uint64_t sequence) const {
  assert(sequence > impl_->released.load(std::memory_order_relaxed));
  assert(sequence <= impl_->published.load(std::memory_order_acquire));
  const Slot& slot = impl_->slot(sequence);
  const std::string_view bytes =
      slot.is_inline ? std::string_view(slot.bytes, slot.size) : std::string_view(slot.large);
  return {bytes, slot.text, slot.type, slot.session, slot.context};
}

void EventRing::release(uint64_t sequence) {
  Impl& ring = *impl_;
  const uint64_t from = ring.released.load(std::memory_order_relaxed);
  assert(sequence <= ring.published.load(std::memory_order_relaxed));
  for (uint64_t i = from + 1; i <= sequence; ++i) {
    Slot& slot = ring.slot(i);
    slot.text.reset();
    if (!slot.is_inline) {
      slot.large = std::string();
      slot.is_inline = true;
    }
  }
  if (sequence > from) ring.released.store(sequence, std::memory_order_release);
  if (sequence > ring.drained.load(std::memory_order_relaxed)) ring.drained.store(sequence, std::memory_order_relaxed);
}

size_t EventRing::drain(std::vector<EncodedEvent>& out, size_t max) {
  const uint64_t from = impl_->released.load(std::memory_order_relaxed);
  const uint64_t to = std::min(published(), from + max);
  for (uint64_t sequence = from + 1; sequence <= to; ++sequence) {
    const EventView view = at(sequence);
    out.push_back({std::string(view.bytes), view.text, view.type, view.session, view.context});
  }
  if (to > from) release(to);
  return static_cast<size_t>(to - from);
}

uint64_t EventRing::drained() const {
  return impl_->drained.load(std::memory_order_relaxed);
}

void EventRing::mark_durable(uint64_t sequence) {
  Impl& ring = *impl_;
  const uint64_t before = ring.durable.load(std::memory_order_relaxed);
  if (sequence <= before) return;
  ring.durable.store(sequence, std::memory_order_seq_cst);
  // Somebody was waiting for something that was not durable before. Signalled also where only a part of it is durable
  // now: the producer may have sessions that wait for an earlier one.
  if (ring.requested.load(std::memory_order_seq_cst) > before) signal(ring.durable_fd);
}

void EventRing::set_state(LogState state) {
  if (impl_->state.exchange(state, std::memory_order_acq_rel) != state) signal(impl_->durable_fd);
}

uint64_t EventRing::durable_requested() const {
  return impl_->requested.load(std::memory_order_relaxed);
}
void EventRing::set_writer_fd(int fd) {
  impl_->writer_fd = fd;
}

void EventRing::set_writer_sleeping(bool sleeping) {
  impl_->writer_sleeping.exchange(sleeping, std::memory_order_acq_rel);
}

}  // namespace sluice::events
