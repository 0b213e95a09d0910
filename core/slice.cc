#include <berth/core/slice.h>

#include <cstring>
#include <new>

namespace berth::inline v0 {

namespace {

/// Header and bytes in one block.
class CopiedBytes final : public SharedBytes {
 public:
  static CopiedBytes& make(std::size_t size) {
    void* block = ::operator new(sizeof(CopiedBytes) + size);
    return *::new (block) CopiedBytes();
  }
  char* bytes() { return reinterpret_cast<char*>(this + 1); }

 private:
  void on_unused() override {
    this->~CopiedBytes();
    ::operator delete(static_cast<void*>(this));
  }
};

}  // namespace

Slice Slice::copy_of(std::string_view bytes) {
  if (bytes.empty()) return {};
  CopiedBytes& block = CopiedBytes::make(bytes.size());
  std::memcpy(block.bytes(), bytes.data(), bytes.size());
  return Slice(block, {block.bytes(), bytes.size()});
}

}  // namespace berth::inline v0
