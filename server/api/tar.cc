#include <berth/server/api/tar.h>

#include <algorithm>

namespace berth::server {

namespace {

constexpr std::size_t kNameMax = 100;
constexpr std::uint64_t kSizeMax = 1ULL << 33;  // eleven octal digits

void put_octal(std::string& block, std::size_t at, std::size_t digits, std::uint64_t value) {
  for (std::size_t i = digits; i > 0; --i, value >>= 3) {
    block[at + i - 1] = static_cast<char>('0' + (value & 7));
  }
}

void put_text(std::string& block, std::size_t at, std::size_t size, std::string_view text) {
  const std::string_view part = text.substr(0, size);
  std::copy(part.begin(), part.end(), block.begin() + static_cast<std::ptrdiff_t>(at));
}

struct Head {
  std::string_view name;
  std::string_view link;
  std::uint64_t bytes = 0;
  std::int64_t modified_s = 0;
  unsigned mode = 0;
  char type = '0';
};

std::string block_of(const Head& head) {
  std::string block(kTarBlock, '\0');
  put_text(block, 0, kNameMax, head.name);
  put_octal(block, 100, 7, head.mode & 07777U);
  put_octal(block, 108, 7, 0);
  put_octal(block, 116, 7, 0);
  put_octal(block, 124, 11, std::min(head.bytes, kSizeMax - 1));
  put_octal(block, 136, 11, static_cast<std::uint64_t>(std::max<std::int64_t>(head.modified_s, 0)));
  block[156] = head.type;
  put_text(block, 157, kNameMax, head.link);
  put_text(block, 257, 6, std::string_view("ustar\0", 6));
  put_text(block, 263, 2, "00");
  // The sum counts its own field as blanks.
  std::fill_n(block.begin() + 148, 8, ' ');
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put_octal(block, 148, 6, sum);
  block[154] = '\0';
  return block;
}

/// "LENGTH name=value\n", whose length counts its own digits.
std::string record_of(std::string_view name, std::string_view value) {
  const std::string rest = " " + std::string(name) + "=" + std::string(value) + "\n";
  std::size_t size = rest.size() + 1;
  while (std::to_string(size).size() + rest.size() != size) {
    size = std::to_string(size).size() + rest.size();
  }
  return std::to_string(size) + rest;
}

bool is_plain(std::string_view text) {
  return text.size() <= kNameMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

std::string tar_head(std::string_view path, const io::TreeEntry& entry) {
  std::string name(path);
  Head head;
  head.mode = entry.mode;
  head.modified_s = entry.modified_ms / 1000;
  if (entry.type == io::TreeType::folder) {
    name += '/';
    head.type = '5';
  } else if (entry.type == io::TreeType::link) {
    head.type = '2';
    head.link = entry.link;
  } else {
    head.bytes = entry.bytes;
  }
  head.name = name;
  std::string records;
  if (!is_plain(name)) records += record_of("path", name);
  if (!is_plain(head.link)) records += record_of("linkpath", head.link);
  if (head.bytes >= kSizeMax) records += record_of("size", std::to_string(head.bytes));
  if (records.empty()) return block_of(head);
  Head extended;
  extended.name = "pax";
  extended.mode = 0644;
  extended.type = 'x';
  extended.bytes = records.size();
  return block_of(extended) + records + tar_padding(records.size()) + block_of(head);
}

std::string tar_padding(std::uint64_t bytes) {
  return std::string((kTarBlock - bytes % kTarBlock) % kTarBlock, '\0');
}

std::string tar_end() {
  return std::string(2 * kTarBlock, '\0');
}

}  // namespace berth::server
