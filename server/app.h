// server/app.h — the composition root: builds a server out of a platform, a store and workspaces,
// and runs it.
#pragma once

#include <berth/core/json_scan.h>
#include <berth/core/log.h>
#include <berth/core/scope.h>
#include <berth/io/platform.h>
#include <berth/server/agents/drivers.h>
#include <berth/server/api/api.h>
#include <berth/server/config.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/directory.h>
#include <berth/server/sessions/journal.h>
#include <berth/server/sessions/workspaces.h>
#include <berth/server/store/store.h>

#include <memory>
#include <string>

namespace berth::server {

/// A berth server as an object. Everything runs on the platform's reactor, which the caller turns.
/// The references outlive it; run() must have ended before it is destroyed.
class App final {
 public:
  App(io::Platform& platform, Store& store, Workspaces& workspaces, Config config, LogSink& log);
  ~App();

  /// Opens the store, settles what a crash left, and listens. Then url() can be told to people.
  /// With an empty Config::listen it opens no socket and writes no endpoint file: url() stays
  /// empty, and requests are given to handler(). A `stop` ends the waiting for a store that takes
  /// no writes.
  Task<Result<void>> start(StopToken stop = {});
  /// Gives a listener that somebody else opened, before start(), which then opens none: who opened
  /// it has decided who may connect. Closed with everything else.
  void use_listener(io::Handle listener) { listener_ = listener; }
  /// A server that has this state already is waited for, as long as it takes, in place of the error
  /// `conflict` ("locked") of start(): for a new program that takes over from an old one.
  void take_over() { take_over_ = true; }
  /// Serves until `stop`. Then intake ends (503 `draining`) while streams go on, and the turns that
  /// run get Config::drain_deadline to end, or until `force`; then the agents end and everything is
  /// closed. After a start() that succeeded.
  Task<void> serve(StopToken stop, StopToken force = {});
  /// Reads the files of Config::tls again, for the handshakes from now on; what is wrong with them
  /// is logged, and all stays as it was. Between start() and the end of serve().
  Task<void> reload_tls();
  /// Ends what start() began when serve() will not be called.
  Task<void> abandon();

  /// The API for requests of this very program, on the reactor's thread: the same paths, token and
  /// answers as over HTTP. From a start() that succeeded until serve() was asked to stop; every
  /// request has ended before serve() does. Streams are written to the exchange's handle.
  io::HttpHandler& handler();

  const std::string& url() const { return url_; }
  const std::string& token() const { return token_; }
  std::string token_path() const { return config_.state_directory + "/token"; }
  std::string endpoint_path() const { return config_.state_directory + "/endpoint.json"; }
  /// A file that says that the store is to be checked.
  std::string check_owed_path() const { return config_.state_directory + "/check-owed"; }
  /// From a start() that succeeded until the end of serve().
  const StoreHealth& store_health() const;
  /// Its paths are short: those of sockets have 107 bytes.
  std::string egress_folder() const { return config_.state_directory + "/egress"; }

 private:
  struct Running;  // what exists only while the store is open

  PoolLimits pool_limits();
  Result<void> prepare_folders();
  Task<Result<void>> take_state(StopToken stop);
  Task<void> drain(StopToken force);
  Task<void> learn_launches();
  void record_denial(const egress::Denial& denial);
  Result<void> read_token();
  Result<void> open_listener();
  Result<void> read_tls();
  Result<void> listen();
  Task<void> keep_compact(StopToken stop);
  Task<void> keep_tidy(StopToken stop);
  Task<void> keep_lean(StopToken stop);
  Task<void> keep_small(StopToken stop);
  Task<Result<void>> note_unclean_end();

  io::Platform& platform_;
  Store& store_;
  Workspaces& workspaces_;
  Config config_;
  LogSink& log_;
  JsonScanner scanner_;
  std::string tag_;  // of all processes of this state directory
  LaunchPolicy launches_;
  std::unique_ptr<egress::Proxy> egress_;  // from start() on
  Drivers agents_;
  std::string token_;
  std::string url_;
  io::Handle listener_ = io::kNoHandle;
  bool take_over_ = false;
  bool check_owed_ = false;
  std::unique_ptr<io::TlsContext> tls_;  // null: plain HTTP
  std::unique_ptr<Running> running_;
};

}  // namespace berth::server
