#include <berth/server/cli/fresh_id.h>

#include <berth/core/prng.h>

#include <sys/random.h>
#include <unistd.h>
#include <ctime>

namespace berth::server {

std::string fresh_id() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::uint64_t seed = 0;
  // So few bytes are always given at once; else the time and the process have to do.
  if (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) {
    seed = (static_cast<std::uint64_t>(now.tv_nsec) << 32) ^ static_cast<std::uint64_t>(::getpid());
  }
  Prng random(seed);
  return make_ulid(static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000, random);
}

}  // namespace berth::server
