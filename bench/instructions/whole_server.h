// bench/instructions/whole_server.h — a server with its agents and clients on a simulated machine
// without faults: the same run each time, and no kernel in it.
#pragma once

#include <berth/core/scope.h>
#include <berth/io/http_client.h>
#include <berth/io/sim_platform.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {

/// The real server over the real store. Its agent, profile "flood", is the cheapest one there is: a
/// prompt that holds "flood COUNT MICROSECONDS" is answered with so many updates of about 485
/// bytes, each so much virtual time after the one before it; without a time they come in writes of
/// 32 KiB. Any other prompt is answered at once.
class WholeServer {
 public:
  WholeServer();
  WholeServer(const WholeServer&) = delete;
  WholeServer& operator=(const WholeServer&) = delete;
  ~WholeServer();

  /// A request over the one connection that is kept, and its answer, which must be a 2xx.
  io::HttpClientResponse call(std::string method, std::string path, std::string body = {});
  /// The same with the answer to a turn, once it has ended.
  void prompt(const std::string& session, const std::string& text);
  /// A reader of an event stream, from now until the end of all.
  void follow(const std::string& path);
  /// Bytes that all readers have been given, once nothing is on its way.
  std::uint64_t bytes_read();

 private:
  struct Life;
  static Task<void> fetch(io::HttpClient* client, io::HttpClientRequest request,
                          io::HttpClientResponse* answer);
  static Task<void> read_stream(WholeServer* server, std::string path);

  io::SimMachine machine_{1, io::FaultPlan::none()};
  io::SimReactor clients_{machine_, "clients"};
  io::HttpOrigin origin_;
  StopSource clients_stop_;
  Scope readers_{clients_};
  std::unique_ptr<Life> life_;
  std::unique_ptr<io::HttpClient> client_;
  std::size_t streaming_ = 0;
  std::uint64_t bytes_read_ = 0;
};

}  // namespace berth::bench
