#include <berth/io/user_data_map.h>

#include <berth/core/assert.h>

#include <bit>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kCellsAtFirst = 64;

unsigned shift_for(std::size_t cells) {
  return 64U - static_cast<unsigned>(std::countr_zero(cells));
}

}  // namespace

UserDataMap::UserDataMap() : cells_(kCellsAtFirst), shift_(shift_for(kCellsAtFirst)) {}

// Multiplied by 2^64 over the golden ratio: addresses differ in their middle bits only.
std::size_t UserDataMap::home_of(std::uint64_t key) const {
  return static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ULL) >> shift_);
}

// Where `key` is, or the empty cell where it would be.
std::size_t UserDataMap::place_of(std::uint64_t key) const {
  const std::size_t mask = cells_.size() - 1;
  std::size_t place = home_of(key);
  while (cells_[place].key != key && cells_[place].key != kEmpty) place = (place + 1) & mask;
  return place;
}

bool UserDataMap::insert(std::uint64_t user_data, std::uint32_t value) {
  BERTH_ASSERT(user_data != kEmpty);
  if (2 * (size_ + 1) > cells_.size()) grow();
  Cell& cell = cells_[place_of(user_data)];
  if (cell.key == user_data) return false;
  cell = Cell{user_data, value};
  ++size_;
  return true;
}

std::optional<std::uint32_t> UserDataMap::find(std::uint64_t user_data) const {
  const Cell& cell = cells_[place_of(user_data)];
  if (cell.key == kEmpty) return std::nullopt;
  return cell.value;
}

std::optional<std::uint32_t> UserDataMap::take(std::uint64_t user_data) {
  const std::size_t mask = cells_.size() - 1;
  std::size_t hole = place_of(user_data);
  if (cells_[hole].key == kEmpty) return std::nullopt;
  const std::uint32_t value = cells_[hole].value;
  --size_;
  // What comes behind moves up into the hole unless it would then stand before its home.
  for (std::size_t place = (hole + 1) & mask; cells_[place].key != kEmpty;
       place = (place + 1) & mask) {
    const std::size_t home = home_of(cells_[place].key);
    if (((place - home) & mask) < ((place - hole) & mask)) continue;
    cells_[hole] = cells_[place];
    hole = place;
  }
  cells_[hole] = Cell{};
  return value;
}

void UserDataMap::grow() {
  std::vector<Cell> old(cells_.size() * 2);
  std::swap(old, cells_);
  shift_ = shift_for(cells_.size());
  for (const Cell& cell : old) {
    if (cell.key != kEmpty) cells_[place_of(cell.key)] = cell;
  }
}

}  // namespace berth::inline v0::io
