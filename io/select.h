// io/select.h — which engine runs here, and why, in words.
#pragma once

#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/io/reactor.h>
#include <berth/io/uring_probe.h>

#include <memory>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

enum class EngineChoice : std::uint8_t {
  automatic,  ///< `uring` where it can be used, else `asio`.
  uring,
  asio,
};

/// `uring`, `asio`, `auto` or nothing. Error `invalid` ("bad_engine") names what it could be.
Result<EngineChoice> parse_engine(std::string_view name);

struct EngineDecision {
  EngineChoice engine = EngineChoice::asio;  ///< Never `automatic`.
  std::string reason;                        ///< A clause: "as asked for", "a seccomp filter ...".
};
/// Error `unsupported` ("uring_unusable") when `uring` was asked for and cannot be had; the message
/// says why and what would help.
Result<EngineDecision> decide_engine(EngineChoice choice, const UringProbe& probe);

/// "engine uring: ..." or "engine asio (epoll): ...", for logs and people.
std::string describe(const EngineDecision& decision);

/// Probes (about 0.1 ms; not when `asio` is asked for), decides, tells `log` at `info` and makes
/// the reactor. Errors: of decide_engine(); `overloaded` when descriptors are short.
Result<std::unique_ptr<Reactor>> make_reactor(EngineChoice choice, LogSink& log);

}  // namespace berth::inline v0::io
