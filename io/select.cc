#include <berth/io/select.h>

#include <berth/io/asio_reactor.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <utility>

namespace berth::inline v0::io {

Result<EngineChoice> parse_engine(std::string_view name) {
  if (name.empty() || name == "auto") return EngineChoice::automatic;
  if (name == "uring") return EngineChoice::uring;
  if (name == "asio") return EngineChoice::asio;
  return fail(ErrorKind::invalid, "bad_engine",
              "there is no engine '" + std::string(name) + "': it is uring, asio or auto");
}

Result<EngineDecision> decide_engine(EngineChoice choice, const UringProbe& probe) {
  if (choice == EngineChoice::asio) return EngineDecision{EngineChoice::asio, "as asked for"};
  if (probe.usable) return EngineDecision{EngineChoice::uring, probe.reason};
  if (choice == EngineChoice::automatic) return EngineDecision{EngineChoice::asio, probe.reason};
  return fail(ErrorKind::unsupported, "uring_unusable",
              "the engine uring was asked for and cannot be had: " + probe.reason);
}

std::string describe(const EngineDecision& decision) {
  const bool uring = decision.engine == EngineChoice::uring;
  return (uring ? "engine uring: " : "engine asio (epoll): ") + decision.reason;
}

Result<std::unique_ptr<Reactor>> make_reactor(EngineChoice choice, LogSink& log) {
  const UringProbe probe = choice == EngineChoice::asio ? UringProbe{} : probe_uring();
  const Result<EngineDecision> decision = decide_engine(choice, probe);
  if (!decision.has_value()) return fail(decision.error());
  Result<std::unique_ptr<Reactor>> reactor =
      decision->engine == EngineChoice::uring
          ? make_uring_reactor().map([](auto made) -> std::unique_ptr<Reactor> { return made; })
          : make_asio_reactor();
  if (reactor.has_value()) log.write(LogLevel::info, "engine", describe(*decision));
  return reactor;
}

}  // namespace berth::inline v0::io
