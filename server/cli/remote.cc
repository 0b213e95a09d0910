#include <berth/server/cli/remote.h>

#include <berth/core/json_writer.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/core/uri.h>
#include <berth/io/files_linux.h>
#include <berth/io/member_timer.h>
#include <berth/io/offload_threads.h>
#include <berth/io/resolver.h>
#include <berth/io/select.h>
#include <berth/io/signals.h>
#include <berth/server/cli/environment.h>
#include <berth/server/cli/exit_codes.h>
#include <berth/server/cli/patient.h>
#include <berth/server/config.h>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <functional>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kSmallFileMax = 64 * 1024;

template <typename T>
Task<void> finish(Task<T> task, std::optional<T>* out, io::Reactor* reactor) {
  out->emplace(co_await std::move(task));
  reactor->stop();
}

// What the server in the state folder says about itself.
struct Endpoint {
  std::string url;
  std::string token_file;
};
std::optional<Endpoint> read_endpoint(io::Files& files, const std::string& state) {
  Result<std::string> text = files.read(state + "/endpoint.json", kSmallFileMax);
  if (!text.has_value()) return std::nullopt;
  Result<JsonDoc> document = JsonDoc::parse(*text);
  if (!document.has_value()) return std::nullopt;
  const JsonView root = document->root();
  const std::optional<std::string_view> url = root.get_string("url");
  if (!url) return std::nullopt;
  return Endpoint{std::string(*url), std::string(root.get_string("token_file").value_or(""))};
}

/// A client of the server in a state folder. Where nobody listens it looks where the server is now:
/// one that was started anew may have another port.
class HomingClient final : public io::HttpClient {
 public:
  using Maker = std::function<std::unique_ptr<io::HttpClient>(io::HttpOrigin)>;
  HomingClient(std::string state, io::HttpOrigin origin, Maker make)
      : state_(std::move(state)),
        origin_(std::move(origin)),
        make_(std::move(make)),
        client_(make_(origin_)) {}

  Task<Result<io::HttpClientResponse>> fetch(io::HttpClientRequest request, TimePoint deadline,
                                             StopToken stop) override {
    io::HttpClientRequest again = request;
    Result<io::HttpClientResponse> answer =
        co_await client_->fetch(std::move(request), deadline, stop);
    const bool moved = co_await find(answer);
    if (moved) answer = co_await client_->fetch(std::move(again), deadline, stop);
    co_return answer;
  }
  Task<Result<io::HttpClientResponse>> begin(io::HttpClientRequest request, TimePoint deadline,
                                             StopToken stop) override {
    io::HttpClientRequest again = request;
    Result<io::HttpClientResponse> answer =
        co_await client_->begin(std::move(request), deadline, stop);
    const bool moved = co_await find(answer);
    if (moved) answer = co_await client_->begin(std::move(again), deadline, stop);
    co_return answer;
  }
  Task<Result<std::string_view>> read_body(TimePoint deadline, StopToken stop) override {
    return client_->read_body(deadline, stop);
  }
  Task<void> close() override { return client_->close(); }

 private:
  /// True when nothing was sent since nobody listened, and the server is somewhere else now.
  Task<bool> find(const Result<io::HttpClientResponse>& answer) {
    if (answer.has_value() || std::string_view(answer.error().code) != "connection_failed") {
      co_return false;
    }
    io::LinuxFiles files;
    const std::optional<Endpoint> endpoint = read_endpoint(files, state_);
    if (!endpoint) co_return false;
    Result<io::HttpOrigin> now = io::HttpOrigin::parse(endpoint->url);
    const bool moved =
        now.has_value() && now->tls == origin_.tls && now->address.text != origin_.address.text;
    if (!moved) co_return false;
    co_await client_->close();
    origin_ = std::move(*now);
    client_ = make_(origin_);
    co_return true;
  }

  std::string state_;
  io::HttpOrigin origin_;
  Maker make_;
  std::unique_ptr<io::HttpClient> client_;
};

class HttpRemote final : public Remote {
 public:
  /// `home`: the state folder if that is where the server was found, else empty.
  HttpRemote(Terminal& terminal, std::unique_ptr<io::Reactor> reactor,
             std::unique_ptr<io::OffloadThreads> lanes, std::unique_ptr<io::TlsContext> tls,
             io::HttpOrigin origin, std::string url, std::string token, std::string project,
             std::string home, io::SignalFd signals)
      : terminal_(terminal),
        reactor_(std::move(reactor)),
        lanes_(std::move(lanes)),
        tls_(std::move(tls)),
        origin_(std::move(origin)),
        home_(std::move(home)),
        client_(connect()),
        url_(std::move(url)),
        token_(std::move(token)),
        project_(std::move(project)),
        signals_(std::move(signals)),
        patience_over_(*this) {}
  ~HttpRemote() override {
    run(close());
    signals_.unwatch();
    while (reactor_->poll()) {
    }
  }

  bool watch_signals() {
    return signals_
        .watch(*reactor_,
               [this] {
                 interrupted_ = true;
                 interrupt_.request_stop();
               })
        .has_value();
  }

  std::optional<RemoteAnswer> call(std::string method, std::string target, std::string body,
                                   HttpHeaders headers) override;
  FollowEnd follow(std::string target, std::uint64_t after, SseSink& sink,
                   Duration patience) override;
  void take_typed_lines(TypedLineReader& reader) override { typed_reader_ = &reader; }
  void done() override {
    if (following_ != nullptr) following_->request_stop();
  }
  void done_in(Duration delay) override {
    ends_quietly_ = true;
    reactor_->arm(patience_over_, reactor_->clock().now() + delay);
  }
  int exit_code() const override { return interrupted_ ? kExitInterrupted : 1; }
  const std::string& url() const override { return url_; }

  void run_task(Task<void> task) override { run(finished(std::move(task))); }
  io::Reactor& reactor() override { return *reactor_; }
  StopToken interrupted() override { return interrupt_.token(); }
  std::unique_ptr<io::HttpClient> connect() override {
    if (home_.empty()) return make_client(origin_);
    return std::make_unique<HomingClient>(
        home_, origin_, [this](io::HttpOrigin origin) { return make_client(std::move(origin)); });
  }
  void authorize(HttpHeaders& headers) const override {
    if (!token_.empty()) headers.emplace_back("Authorization", "Bearer " + token_);
    if (!project_.empty()) headers.emplace_back("Berth-Project", project_);
  }

 private:
  template <typename T>
  T run(Task<T> task) {
    std::optional<T> out;
    Scope scope(*reactor_);
    scope.spawn(finish(std::move(task), &out, reactor_.get()));
    while (!out || scope.size() > 0) reactor_->run();
    return std::move(*out);
  }
  Task<bool> close() {
    co_await client_->close();
    co_return true;
  }
  static Task<bool> finished(Task<void> task) {
    co_await std::move(task);
    co_return true;
  }
  std::unique_ptr<io::HttpClient> make_client(io::HttpOrigin origin) {
    return io::make_http_client(*reactor_, std::move(origin), {}, tls_.get(),
                                io::NameLookup{&resolver_, lanes_.get()});
  }
  void on_patience_over() {
    timed_out_ = !ends_quietly_;
    done();
  }
  void complain(const Error& error);
  void complain(const io::HttpClientResponse& response);

  Terminal& terminal_;
  std::unique_ptr<io::Reactor> reactor_;
  io::SystemResolver resolver_;
  std::unique_ptr<io::OffloadThreads> lanes_;  // to look the server's name up; null for an address
  std::unique_ptr<io::TlsContext> tls_;        // null: plain HTTP
  io::HttpOrigin origin_;
  std::string home_;
  std::unique_ptr<io::HttpClient> client_;
  std::string url_;
  std::string token_;
  std::string project_;
  io::SignalFd signals_;
  StopSource interrupt_;
  bool interrupted_ = false;

  friend class TypedLines;
  TypedLineReader* typed_reader_ = nullptr;
  StopSource* following_ = nullptr;
  io::MemberTimer<&HttpRemote::on_patience_over> patience_over_;
  bool ends_quietly_ = false;
  bool timed_out_ = false;
};

std::optional<RemoteAnswer> HttpRemote::call(std::string method, std::string target,
                                             std::string body, HttpHeaders headers) {
  io::HttpClientRequest request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.body = std::move(body);
  request.headers = std::move(headers);
  authorize(request.headers);
  if (!request.body.empty()) request.headers.emplace_back("Content-Type", "application/json");
  Result<io::HttpClientResponse> response =
      run(client_->fetch(std::move(request), TimePoint::max(), interrupt_.token()));
  if (!response.has_value()) {
    complain(response.error());
    return std::nullopt;
  }
  if (response->status >= 400) {
    complain(*response);
    return std::nullopt;
  }
  RemoteAnswer answer;
  answer.response = std::move(*response);
  Result<JsonDoc> document = JsonDoc::parse(answer.response.body);
  if (document.has_value()) answer.document.emplace(std::move(*document));
  return answer;
}

/// What lines of stdin stand for, sent one after the other by a client of their own while another
/// one follows.
class TypedLines final : private io::ReadOp {
 public:
  explicit TypedLines(HttpRemote& remote)
      : remote_(remote), client_(remote.connect()), scope_(*remote.reactor_) {}

  void begin() {
    flags_ = ::fcntl(STDIN_FILENO, F_GETFL);
    Result<io::Handle> input = remote_.reactor_->adopt(STDIN_FILENO);
    if (!input.has_value()) {
      ended_.set();
      return remote_.complain(input.error());
    }
    handle = *input;
    remote_.reactor_->start(*this);
  }
  /// The descriptor is as it was before.
  Task<bool> end() {
    stop_.request_stop();
    if (started()) remote_.reactor_->cancel(*this);
    co_await ended_.wait();
    co_await scope_.join();
    co_await client_->close();
    ::fcntl(STDIN_FILENO, F_SETFL, flags_);
    co_return true;
  }

 private:
  void on_read(std::span<char> bytes) override {
    for (const char c : bytes) {
      if (c != '\n') {
        line_ += c;
        continue;
      }
      std::optional<io::HttpClientRequest> wanted =
          remote_.typed_reader_->on_line(std::exchange(line_, {}));
      if (wanted) requests_.push_back(std::move(*wanted));
    }
    if (!requests_.empty() && scope_.size() == 0) scope_.spawn(post());
  }
  void on_read_end(int) override {
    ended_.set();
    if (stdin_is_tty()) remote_.done();
  }
  Task<void> post() {
    while (!requests_.empty() && !stop_.stop_requested()) {
      io::HttpClientRequest request = std::move(requests_.front());
      requests_.pop_front();
      remote_.authorize(request.headers);
      request.headers.emplace_back("Content-Type", "application/json");
      Result<io::HttpClientResponse> answer =
          co_await client_->fetch(std::move(request), TimePoint::max(), stop_.token());
      if (!answer.has_value()) {
        remote_.complain(answer.error());
      } else if (answer->status >= 400) {
        remote_.complain(*answer);
      }
    }
  }

  HttpRemote& remote_;
  std::unique_ptr<io::HttpClient> client_;
  std::string line_;
  std::deque<io::HttpClientRequest> requests_;
  int flags_ = 0;
  Event ended_{*remote_.reactor_};
  StopSource stop_;
  Scope scope_;
};

Remote::FollowEnd HttpRemote::follow(std::string target, std::uint64_t after, SseSink& sink,
                                     Duration patience) {
  StopSource stop(interrupt_.token());
  following_ = &stop;
  timed_out_ = false;
  ends_quietly_ = false;
  io::HttpClientRequest request;
  request.target = std::move(target);
  authorize(request.headers);
  io::SseFollowOptions options;
  if (after > 0) options.last_event_id = std::to_string(after);
  if (patience > Duration::zero()) {
    reactor_->arm(patience_over_, reactor_->clock().now() + patience);
  }
  std::optional<TypedLines> typed;
  if (typed_reader_ != nullptr) typed.emplace(*this).begin();
  Result<io::SseFollowEnd> end = run(io::follow_events(
      reactor_.get(), client_.get(), std::move(request), std::move(options), &sink, stop.token()));
  if (typed) run(typed->end());
  reactor_->disarm(patience_over_);
  following_ = nullptr;
  if (interrupted_) return FollowEnd::interrupted;
  if (timed_out_) return FollowEnd::timed_out;
  if (!end.has_value()) {
    complain(end.error());
    return FollowEnd::failed;
  }
  if (end->reason == io::SseFollowEnd::Reason::refused) {
    complain(end->answer);
    return FollowEnd::failed;
  }
  return FollowEnd::done;
}

void HttpRemote::complain(const Error& error) {
  if (interrupted_) return;
  if (std::string_view(error.code) == "connection_failed") {
    return terminal_.complain(fmt::format(
        "no server answers at {} ({}); start one with `berth serve`", url_, error.message));
  }
  terminal_.complain(error.message);
}

void HttpRemote::complain(const io::HttpClientResponse& response) {
  terminal_.complain(refusal_text(response));
  Result<JsonDoc> problem = JsonDoc::parse(response.body);
  if (!problem.has_value()) return;
  const JsonView root = problem->root();
  for (const JsonView& conflict : root.elements("body.conflicts")) {
    terminal_.complain(printable(fmt::format("{}: {}", conflict.get_string("path").value_or("?"),
                                             conflict.get_string("reason").value_or("other"))));
  }
}

std::string first_line(std::string text) {
  text.resize(std::min(text.find_first_of("\r\n"), text.size()));
  return text;
}

/// Threads to look the server's name up; none for an address.
Result<std::unique_ptr<io::OffloadThreads>> lanes_for(const io::HttpOrigin& origin) {
  if (io::is_address(origin.address.text)) return nullptr;
  return io::OffloadThreads::start({});
}

Result<std::unique_ptr<io::TlsContext>> trust_for(const io::HttpOrigin& origin,
                                                  const std::string& ca_file) {
  if (!origin.tls) return nullptr;
  return io::TlsContext::make_client({ca_file});
}

std::unique_ptr<Remote> talk_to(std::string url, std::string token, std::string home,
                                const GlobalOptions& options, Terminal& terminal) {
  Result<io::HttpOrigin> origin = io::HttpOrigin::parse(url);
  if (!origin.has_value()) {
    terminal.complain(origin.error().message);
    return nullptr;
  }
  io::SignalFd signals = io::SignalFd::block({SIGINT});
  const Result<io::EngineChoice> engine = engine_from_environment();
  if (!engine.has_value()) {
    terminal.complain(engine.error().message);
    return nullptr;
  }
  NullLog log;
  Result<std::unique_ptr<io::Reactor>> reactor = io::make_reactor(*engine, log);
  if (!reactor.has_value()) {
    terminal.complain(reactor.error().message);
    return nullptr;
  }
  Result<std::unique_ptr<io::OffloadThreads>> lanes = lanes_for(*origin);
  if (!lanes.has_value()) {
    terminal.complain(lanes.error().message);
    return nullptr;
  }
  const std::string ca_file = options.ca_file.empty()
                                  ? ProgramEnvironment().get("BERTH_CA_FILE").value_or("")
                                  : options.ca_file;
  Result<std::unique_ptr<io::TlsContext>> tls = trust_for(*origin, ca_file);
  if (!tls.has_value()) {
    terminal.complain(tls.error().message);
    return nullptr;
  }
  std::string project = options.project;
  if (project.empty()) project = ProgramEnvironment().get("BERTH_PROJECT").value_or("");
  auto remote = std::make_unique<HttpRemote>(
      terminal, std::move(*reactor), std::move(*lanes), std::move(*tls), std::move(*origin),
      std::move(url), std::move(token), std::move(project), std::move(home), std::move(signals));
  if (!remote->watch_signals()) terminal.complain("Ctrl-C cannot be watched");
  return remote;
}

}  // namespace

std::unique_ptr<Remote> Remote::open(const GlobalOptions& options, Terminal& terminal) {
  const ProgramEnvironment environment;
  io::LinuxFiles files;
  const std::string state = state_directory_of(environment, options.state);
  const std::optional<Endpoint> endpoint = read_endpoint(files, state);
  std::string url = options.url;
  if (url.empty()) url = environment.get("BERTH_URL").value_or("");
  const bool elsewhere = !url.empty();
  if (url.empty()) {
    if (!endpoint) {
      terminal.complain("no server found: " + state +
                        "/endpoint.json is not there; start one with `berth serve`, or give --url");
      return nullptr;
    }
    url = endpoint->url;
  }
  std::string token = options.token;
  if (token.empty()) token = environment.get("BERTH_TOKEN").value_or("");
  // A token is sent only to the server that it belongs to.
  if (token.empty() && endpoint && (!elsewhere || url == endpoint->url)) {
    const std::string file = endpoint->token_file.empty() ? state + "/token" : endpoint->token_file;
    Result<std::string> text = files.read(file, kSmallFileMax);
    if (text.has_value()) token = first_line(std::move(*text));
  }
  return talk_to(std::move(url), std::move(token), elsewhere ? "" : state, options, terminal);
}

std::string text_of(const JsonView& view, std::string_view path, std::string_view absent) {
  return printable(view.get_string(path).value_or(absent));
}

int show_answer(Terminal& terminal, const GlobalOptions& global, const RemoteAnswer& answer,
                void (*in_words)(Terminal& terminal, const JsonView& body)) {
  if (global.json) {
    terminal.line(answer.response.body);
  } else {
    in_words(terminal, answer.json());
  }
  return 0;
}

std::string session_target(std::string_view id, std::string_view rest) {
  std::string target = "/v1/sessions/";
  append_percent_encoded(target, id);
  target += rest;
  return target;
}

}  // namespace berth::server
