#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/cache.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

class FixedCredentials final : public CredentialSource {
 public:
  Result<Credential> get(const CredentialRequest& request) override {
    ++asked;
    last = request;
    if (password.empty()) return fail(ErrorKind::not_found, "none", "no credential");
    return Credential{.user = "agent", .password = password};
  }
  int asked = 0;
  CredentialRequest last;
  std::string password;
};

class CacheHttps : public GitTest {
 protected:
  void SetUp() override {
    make_certificate("trusted");
    make_certificate("strange");
    sh(root_, "mkdir served && git clone -q --bare repo served/project.git");
    library_.emplace(
        Library::Options{.user_config = false, .certificates = root_ + "/trusted.crt"});
    start("trusted");
  }
  void TearDown() override {
    stop();
    for (const int fd : held_) ::close(fd);
  }

  void make_certificate(const std::string& name) {
    sh(root_,
       "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext "
       "subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout " +
           name + ".key -out " + name + ".crt");
  }
  void start(const std::string& certificate) {
    hold_port();
    int out[2];
    ASSERT_EQ(::pipe(out), 0);
    server_ = ::fork();
    if (server_ == 0) {
      ::dup2(out[1], 1);
      ::execlp("python3", "python3", BERTH_GIT_HTTPS_SERVER, (root_ + "/served").c_str(),
               (root_ + "/" + certificate + ".crt").c_str(),
               (root_ + "/" + certificate + ".key").c_str(), (root_ + "/log").c_str(),
               std::to_string(port_).c_str(), nullptr);
      ::_exit(127);
    }
    ::close(out[1]);
    FILE* line = ::fdopen(out[0], "r");
    int listening = 0;
    ASSERT_EQ(std::fscanf(line, "%d", &listening), 1);
    ASSERT_EQ(listening, port_);
    std::fclose(line);
  }
  /// A port that is the test's until its end: once the server is stopped, nobody answers there.
  void hold_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    held_.push_back(fd);
    const int on = 1;
    ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(fd, name, size), 0);
    ASSERT_EQ(::getsockname(fd, name, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  void stop() {
    if (server_ <= 0) return;
    ::kill(server_, SIGKILL);
    ::waitpid(server_, nullptr, 0);
    server_ = -1;
  }
  std::string url(const std::string& path, const std::string& user = {}) const {
    return "https://" + user + "localhost:" + std::to_string(port_) + path;
  }
  Result<CachedRepository> open(const std::string& where) {
    CacheRequest request{.url = where, .now_s = now_++, .credentials = &credentials_};
    request.patience.deadline = std::chrono::steady_clock::now() + patience_;
    return cache_.open(request);
  }
  std::string code(const std::string& where) {
    Result<CachedRepository> cached = open(where);
    if (!cached) messages_ += cached.error().message + "\n";
    return cached ? "opened" : cached.error().code;
  }

  std::optional<Library> library_;
  FixedCredentials credentials_;
  RepositoryCache cache_{root_ + "/cache"};
  std::chrono::milliseconds patience_ = std::chrono::seconds(60);
  std::string messages_;
  std::int64_t now_ = 1000;
  pid_t server_ = -1;
  std::vector<int> held_;
  int port_ = 0;
};

TEST_F(CacheHttps, ClonesAndFetchesFromARealServer) {
  Result<CachedRepository> cached = open(url("/project.git"));
  ASSERT_TRUE(cached) << cached.error().message;
  EXPECT_EQ(sh(cached->path, "git rev-parse HEAD && git fsck"), git("rev-parse main"));
  git("commit -q --allow-empty -m second && git push -q ../served/project.git main");
  ASSERT_TRUE(open(url("/project.git")));
  EXPECT_EQ(sh(cached->path, "git rev-parse HEAD"), git("rev-parse main"));
  EXPECT_EQ(credentials_.asked, 0);
  EXPECT_EQ(code(url("/none.git")), "remote_not_found") << messages_;
}

TEST_F(CacheHttps, AsksForASecretAndKeepsItNowhere) {
  EXPECT_EQ(code(url("/auth/project.git")), "remote_denied") << messages_;
  EXPECT_EQ(credentials_.asked, 1);
  EXPECT_TRUE(credentials_.last.password);
  EXPECT_EQ(credentials_.last.url, url("/auth/project.git"));
  credentials_.password = "wrong-sesame";
  EXPECT_EQ(code(url("/auth/project.git")), "remote_denied") << messages_;
  EXPECT_LE(credentials_.asked, 5);
  credentials_.password = "sesame";
  EXPECT_EQ(code(url("/auth/project.git")), "opened") << messages_;
  // One in the URL is used as well.
  credentials_.password = "";
  EXPECT_EQ(code(url("/auth/project.git", "agent:sesame@")), "opened") << messages_;
  EXPECT_EQ(cache_.list().size(), 1U);
  stop();
  EXPECT_EQ(code(url("/auth/project.git", "agent:sesame@")), "remote_unavailable") << messages_;
  EXPECT_EQ(messages_.find("sesame"), std::string::npos) << messages_;
  EXPECT_NE(sh_code(root_ + "/cache", "grep -r sesame ."), 0);
}

TEST_F(CacheHttps, CarriesNoSecretToAnotherHost) {
  const pid_t first = server_;
  const int here = port_;
  start("trusted");
  const std::string there = "/away/" + std::to_string(std::exchange(port_, here)) + "/project.git";
  credentials_.password = "sesame";
  EXPECT_EQ(code(url(there)), "remote_redirected") << messages_;
  EXPECT_EQ(credentials_.asked, 0);
  EXPECT_EQ(read(root_ + "/log").find("Basic"), std::string::npos) << read(root_ + "/log");
  // On the same host a project may have another name.
  EXPECT_EQ(code(url("/away/" + std::to_string(here) + "/project.git")), "opened") << messages_;
  stop();
  server_ = first;
}

TEST_F(CacheHttps, TrustsNoCertificateThatNobodyVouchesFor) {
  stop();
  start("strange");
  credentials_.password = "sesame";
  EXPECT_EQ(code(url("/auth/project.git")), "remote_untrusted") << messages_;
  EXPECT_EQ(credentials_.asked, 0);
  EXPECT_TRUE(cache_.list().empty());
}

TEST_F(CacheHttps, WaitsForASilentServerOnlyAsLongAsItIsTold) {
  patience_ = std::chrono::milliseconds(400);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(code(url("/silent/project.git")), "git_timed_out") << messages_;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  ::kill(server_, SIGSTOP);  // accepts, and says nothing at all
  EXPECT_EQ(code(url("/project.git")), "git_timed_out") << messages_;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
  EXPECT_TRUE(cache_.list().empty());
  EXPECT_TRUE(fs::is_empty(root_ + "/cache/tmp"));
}

}  // namespace
}  // namespace berth::git::test
