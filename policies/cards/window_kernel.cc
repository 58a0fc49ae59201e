#include "policies/cards/window_kernel.h"

namespace sluice::policies::cards {

VectorLevel vector_level() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi") &&
      __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2")) {
    return VectorLevel::avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt")) {
    return VectorLevel::avx2;
  }
#endif
  return VectorLevel::none;
}

WindowFinder::Find WindowFinder::choose(VectorLevel level) {
#if defined(__x86_64__)
  static const VectorLevel here = vector_level();
  if (level > here) return nullptr;
  if (level == VectorLevel::avx512) return find_windows_avx512;
  if (level == VectorLevel::avx2) return find_windows_avx2;
#endif
  return nullptr;
}

MarkSigns choose_mark_signs(VectorLevel level) {
#if defined(__x86_64__)
  static const VectorLevel here = vector_level();
  if (level > here) return nullptr;
  if (level == VectorLevel::avx512) return mark_signs_avx512;
  if (level == VectorLevel::avx2) return mark_signs_avx2;
#endif
  return nullptr;
}

GlanceAt choose_glance(VectorLevel level) {
#if defined(__x86_64__)
  static const VectorLevel here = vector_level();
  if (level > here) return nullptr;
  if (level == VectorLevel::avx512) return glance_avx512;
  if (level == VectorLevel::avx2) return glance_avx2;
#endif
  return nullptr;
}

}  // namespace sluice::policies::cards
