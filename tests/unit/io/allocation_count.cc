#include "allocation_count.h"

#include "sanitized.h"

#include <atomic>
#include <cstdlib>
#include <new>

#ifdef BERTH_SANITIZED

std::optional<std::size_t> berth::io::allocation_count() {
  return std::nullopt;
}

#else

namespace {
std::atomic<std::size_t> allocations = 0;
}

void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

std::optional<std::size_t> berth::io::allocation_count() {
  return allocations.load(std::memory_order_relaxed);
}

#endif
