#include <berth/core/clock.h>

#include <array>

namespace berth::inline v0 {

namespace {

void put_digits(char* at, unsigned value, int width) {
  for (int i = width - 1; i >= 0; --i) {
    at[i] = static_cast<char>('0' + value % 10);
    value /= 10;
  }
}

}  // namespace

void append_rfc3339(std::string& out, WallTime time) {
  using std::chrono::days;
  const auto since_epoch = std::chrono::sys_time<std::chrono::milliseconds>(time);
  const auto day = std::chrono::floor<days>(since_epoch);
  const std::chrono::year_month_day date(day);
  const auto ms = static_cast<unsigned>((since_epoch - day).count());
  std::array<char, 24> text = {'0', '0', '0', '0', '-', '0', '0', '-', '0', '0', 'T', '0',
                               '0', ':', '0', '0', ':', '0', '0', '.', '0', '0', '0', 'Z'};
  put_digits(text.data(), static_cast<unsigned>(static_cast<int>(date.year())), 4);
  put_digits(text.data() + 5, static_cast<unsigned>(date.month()), 2);
  put_digits(text.data() + 8, static_cast<unsigned>(date.day()), 2);
  put_digits(text.data() + 11, ms / 3'600'000, 2);
  put_digits(text.data() + 14, ms / 60'000 % 60, 2);
  put_digits(text.data() + 17, ms / 1'000 % 60, 2);
  put_digits(text.data() + 20, ms % 1'000, 3);
  out.append(text.data(), text.size());
}

}  // namespace berth::inline v0
