// docs/examples/line_server.h — a small server on berth::io: post a line, follow all lines.
#pragma once

#include <berth/core/sync.h>
#include <berth/io/http_server.h>

#include <string>
#include <vector>

/// POST /lines with {"text":"..."} appends a line and answers {"seq":N}; GET /lines is a stream of
/// server-sent events, from the Last-Event-ID on. It knows a Reactor and nothing of this machine,
/// so it runs on real sockets (line_server_main.cc) and in the simulator (line_server_sim.cc).
class LineServer final : public berth::io::HttpHandler {
 public:
  explicit LineServer(berth::io::Reactor& reactor) : reactor_(reactor), news_(reactor) {}

  berth::Task<void> handle(berth::io::HttpExchange& exchange) override;
  berth::io::HttpResponse refuse(int status, const berth::Error& error) override;

 private:
  berth::io::HttpResponse append(const berth::io::HttpRequest& request);
  berth::Task<void> follow(berth::io::HttpExchange* exchange);

  berth::io::Reactor& reactor_;
  berth::Event news_;
  std::vector<std::string> lines_;
};
