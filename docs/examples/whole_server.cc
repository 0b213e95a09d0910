// berth's sessions and agents inside another program, without a socket: the server as an object,
// asked by function calls. `example_whole_server STATE REPOSITORY SCRIPTED-AGENT`
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/core/scope.h>
#include <berth/git/library.h>
#include <berth/io/platform_linux.h>
#include <berth/io/port.h>
#include <berth/server/app.h>
#include <berth/server/sessions/workspaces_git.h>
#include <berth/server/store/sqlite_store.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

using berth::ErrorKind;
using berth::Result;
using berth::StopSource;
using berth::StopToken;
using berth::Task;
namespace io = berth::io;

namespace {

// [app]
/// One request of this program itself. What would go over a socket stays in memory.
class Call final : public io::HttpExchange {
 public:
  Call(const std::string& token, std::string method, std::string target, std::string body = {}) {
    request_.method = std::move(method);
    request_.target = std::move(target);
    request_.headers = {{"authorization", "Bearer " + token}, {"prefer", "wait=10"}};
    request_.body = std::move(body);
  }

  const io::HttpRequest& request() const override { return request_; }
  Task<Result<void>> respond(io::HttpResponse response) override {
    response_ = std::move(response);
    co_return Result<void>();
  }
  Task<Result<void>> begin_body(io::HttpResponse head) override { return respond(std::move(head)); }
  Task<Result<void>> write_body(std::string_view piece) override {
    response_.body += piece;
    co_return Result<void>();
  }
  /// A program that wants live streams gives an outlet of its own here; this one asks for pages.
  Task<Result<void>> start_stream(io::HttpResponse) override {
    co_return berth::fail(ErrorKind::unsupported, "no_stream", "ask for a page instead");
  }
  io::Outlet& outlet() override { return nowhere_; }
  StopToken gone() override { return gone_.token(); }

  const io::HttpResponse& response() const { return response_; }

 private:
  struct Nowhere final : io::Outlet {
    void start(io::WriteOp&) override { std::abort(); }  // start_stream() has refused
    void cancel(io::WriteOp&) override {}
  };

  io::HttpRequest request_;
  io::HttpResponse response_;
  Nowhere nowhere_;
  StopSource gone_;
};

Task<void> use_it(berth::server::App* app, std::string repository) {
  std::string body;
  berth::JsonWriter(body)
      .begin_object()
      .member("id", "tour")
      .member("agent", "scripted")
      .member("repository", repository)
      .end_object();
  Call open(app->token(), "POST", "/v1/sessions", body);
  co_await app->handler().handle(open);
  std::printf("session: %d\n", open.response().status);

  Call turn(app->token(), "POST", "/v1/sessions/tour/turns", R"({"prompt":"say hello"})");
  co_await app->handler().handle(turn);
  std::printf("turn: %d\n", turn.response().status);

  Call events(app->token(), "GET", "/v1/sessions/tour/events");
  co_await app->handler().handle(events);
  const Result<berth::JsonDoc> page = berth::JsonDoc::parse(events.response().body);
  if (!page.has_value()) co_return;
  for (const berth::JsonView event : page->root().elements("events")) {
    std::printf("event: %s\n", std::string(event.get_string("type").value_or("")).c_str());
  }
}

Task<void> run(berth::server::App* app, std::string repository, io::Reactor* reactor) {
  StopSource stop;
  const Result<void> started = co_await app->start();
  if (started.has_value()) {
    berth::Scope serving(*reactor);
    serving.spawn(app->serve(stop.token()));
    co_await use_it(app, std::move(repository));
    stop.request_stop();
    co_await serving.join();
  } else {
    std::fprintf(stderr, "%s\n", started.error().message.c_str());
  }
  reactor->stop();
}
// [app]

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  berth::NullLog log;
  berth::git::LibraryOnDemand libgit2;
  auto platform = io::make_linux_platform(log, {});
  if (!platform.has_value()) {
    std::fprintf(stderr, "%s\n", platform.error().message.c_str());
    return 1;
  }
  berth::server::Config config;
  config.state_directory = argv[1];
  config.listen.clear();  // no socket
  config.agents = berth::server::built_in_agents(argv[3]);
  config.agents["scripted"].arguments = {"--sessions", config.state_directory + "/agent"};

  berth::server::SqliteOptions options;
  options.path = config.state_directory + "/berth.db";
  berth::server::SqliteStore store(options);
  berth::server::GitWorkspaces workspaces(**platform, config.state_directory, {},
                                          {.libgit2 = libgit2});
  berth::server::App app(**platform, store, workspaces, std::move(config), log);

  io::Reactor& reactor = (*platform)->reactor();
  {
    berth::Scope scope(reactor);
    scope.spawn(run(&app, argv[2], &reactor));
    reactor.run();
    while (reactor.poll()) {
    }
  }
  return 0;
}
