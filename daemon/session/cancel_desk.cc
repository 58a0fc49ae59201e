#include "daemon/session/cancel_desk.h"

namespace sluice::session {
namespace {

// No name of a target holds a NUL.
std::string slot_name(std::string_view target, std::span<const uint8_t> key) {
  std::string name(target);
  name.push_back('\0');
  name.append(key.begin(), key.end());
  return name;
}

}  // namespace

void CancelDesk::Slot::set_waiting(bool waiting) {
  State before = waiting ? State::elsewhere : State::waiting;
  state_.compare_exchange_strong(before, waiting ? State::waiting : State::elsewhere);
}

bool CancelDesk::Slot::take() {
  State before = State::cancelled;
  return state_.compare_exchange_strong(before, State::elsewhere);
}

CancelDesk::SlotRef CancelDesk::enter(std::string_view target, std::span<const uint8_t> key, Deliver deliver) {
  auto slot = std::make_shared<Slot>(std::move(deliver));
  std::string name = slot_name(target, key);
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(name);
  if (found != slots_.end()) {
    found->second = slot;
    return slot;
  }
  if (slots_.size() >= kSlotsMax) return nullptr;
  slots_.emplace(std::move(name), slot);
  return slot;
}

void CancelDesk::leave(std::string_view target, std::span<const uint8_t> key, const SlotRef& slot) {
  const std::lock_guard lock(mutex_);
  const auto found = slots_.find(slot_name(target, key));
  if (found != slots_.end() && found->second == slot) slots_.erase(found);
}

bool CancelDesk::deliver(std::string_view target, std::span<const uint8_t> key) {
  SlotRef slot;
  {
    const std::lock_guard lock(mutex_);
    const auto found = slots_.find(slot_name(target, key));
    if (found == slots_.end()) return false;
    slot = found->second;
  }
  auto waiting = Slot::State::waiting;
  if (!slot->state_.compare_exchange_strong(waiting, Slot::State::cancelled)) return false;
  // Where the worker takes no more letters it may have seen it by itself.
  return slot->deliver_() || !slot->take();
}

size_t CancelDesk::size() const {
  const std::lock_guard lock(mutex_);
  return slots_.size();
}

}  // namespace sluice::session
