// io/user_data_map.h — from the user data of an open request to where it is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace berth::inline v0::io {

/// Open addressing over addresses and small numbers; allocates only when it holds more than ever
/// before. Any user data but ~0 is a key.
class UserDataMap {
 public:
  UserDataMap();

  /// False when it is in already.
  bool insert(std::uint64_t user_data, std::uint32_t value);
  std::optional<std::uint32_t> find(std::uint64_t user_data) const;
  /// Takes it out and returns what it was.
  std::optional<std::uint32_t> take(std::uint64_t user_data);
  std::size_t size() const { return size_; }

 private:
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  struct Cell {
    std::uint64_t key = kEmpty;
    std::uint32_t value = 0;
  };
  std::size_t home_of(std::uint64_t key) const;
  std::size_t place_of(std::uint64_t key) const;
  void grow();

  std::vector<Cell> cells_;  // a power of two, at most half of them taken
  unsigned shift_ = 0;
  std::size_t size_ = 0;
};

}  // namespace berth::inline v0::io
