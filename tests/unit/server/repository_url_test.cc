#include <berth/io/sim_files.h>
#include <berth/server/sessions/remote_credentials.h>
#include <berth/server/sessions/repository_url.h>

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>

namespace berth::server {
namespace {

TEST(RepositoryUrl, IsToldApartFromAPath) {
  for (const char* url : {"file:///srv/repo", "https://host/repo", "HTTPS://host/repo",
                          "ssh://git@host/repo", "git@host:team/repo", "host:repo"}) {
    EXPECT_TRUE(is_repository_url(url)) << url;
  }
  for (const char* path :
       {"", "/srv/repo", "/srv/a:b", "./a:b", "http://host/repo", "repo", "git://host/repo"}) {
    EXPECT_FALSE(is_repository_url(path)) << path;
  }
}

TEST(RepositoryUrl, MustNotHoldAPassword) {
  EXPECT_TRUE(check_repository_url("https://user@host/repo").has_value());
  EXPECT_TRUE(check_repository_url("https://host:8443/repo").has_value());
  EXPECT_TRUE(check_repository_url("git@host:repo").has_value());
  for (const char* url : {"https://user:secret@host/repo", "ssh://u:secret@host/repo",
                          "https://u:se@cret@host/repo"}) {
    const Result<void> refused = check_repository_url(url);
    ASSERT_FALSE(refused.has_value()) << url;
    EXPECT_TRUE(refused.error().message.starts_with("repository: "));
    EXPECT_EQ(refused.error().message.find("cret"), std::string::npos);
  }
}

TEST(RepositoryUrl, OfASessionIsWhatItWasOpenedWith) {
  SessionRow row;
  row.repository = "/state/clones/x.git";
  row.options = R"({"agent":"a","repository":"https://host/repo","base":""})";
  EXPECT_EQ(repository_url_of(row), "https://host/repo");
  row.options = R"({"agent":"a","repository":"/srv/repo","base":""})";
  EXPECT_EQ(repository_url_of(row), "");
  row.options = R"({"agent":"a","repository":"","directory":"/d"})";
  EXPECT_EQ(repository_url_of(row), "");
}

TEST(RemoteHost, IsWhatTheConfigurationNamesItBy) {
  EXPECT_EQ(remote_host_of("https://Host/repo"), "host");
  EXPECT_EQ(remote_host_of("https://host:443/repo"), "host");
  EXPECT_EQ(remote_host_of("https://host:8443/repo"), "host:8443");
  EXPECT_EQ(remote_host_of("ssh://git@host:22/repo"), "host");
  EXPECT_EQ(remote_host_of("ssh://git@host/repo"), "host");
  EXPECT_EQ(remote_host_of("host:8443"), "host:8443");
}

class ScriptedEnvironment final : public io::Environment {
 public:
  std::optional<std::string> get(const std::string& name) const override {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  }
  std::map<std::string, std::string> values;
};

class CredentialsOfRemotes : public testing::Test {
 protected:
  Result<git::Credential> get(const RemoteAccess& access, git::CredentialRequest request) {
    return RemoteCredentials(environment, files, {access}).get(request);
  }
  static git::CredentialRequest password_for(const std::string& url) {
    return {.url = url, .user = "given", .password = true};
  }

  ScriptedEnvironment environment;
  io::SimDisk disk;
  io::SimFiles files{disk};
};

TEST_F(CredentialsOfRemotes, AreReadFromTheVariableEachTime) {
  const RemoteAccess access{.host = "host", .user = "bot", .password_env = "TOKEN"};
  Result<git::Credential> missing = get(access, password_for("https://host/repo"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().kind, ErrorKind::not_found);
  EXPECT_NE(missing.error().message.find("TOKEN"), std::string::npos);
  environment.values["TOKEN"] = "sesame";
  Result<git::Credential> found = get(access, password_for("https://host:443/repo"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->user, "bot");
  EXPECT_EQ(found->password, "sesame");
  EXPECT_FALSE(get(access, password_for("https://other/repo")).has_value());
  EXPECT_FALSE(get(access, password_for("https://host:444/repo")).has_value());
}

TEST_F(CredentialsOfRemotes, AreReadFromAFileWithoutItsLastLineFeed) {
  ASSERT_TRUE(files.write_atomic("/token", "sesame\n", 0600).has_value());
  const RemoteAccess access{.host = "host", .password_file = "/token"};
  Result<git::Credential> found = get(access, password_for("https://host/repo"));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->user, "given");
  EXPECT_EQ(found->password, "sesame");
  const RemoteAccess gone{.host = "host", .password_file = "/gone"};
  EXPECT_FALSE(get(gone, password_for("https://host/repo")).has_value());
}

TEST_F(CredentialsOfRemotes, NameAKeyOnlyWhereOneIsAskedFor) {
  const RemoteAccess access{
      .host = "host", .ssh_key = "/key", .ssh_passphrase_env = "PHRASE", .ssh_agent = true};
  EXPECT_FALSE(get(access, password_for("https://host/repo")).has_value());
  environment.values["PHRASE"] = "open";
  Result<git::Credential> found =
      get(access, {.url = "ssh://git@host/repo", .user = "git", .ssh_key = true});
  ASSERT_TRUE(found.has_value()) << found.error().message;
  EXPECT_EQ(found->user, "git");
  EXPECT_EQ(found->private_key, "/key");
  EXPECT_EQ(found->passphrase, "open");
  EXPECT_TRUE(found->ssh_agent);
}

}  // namespace
}  // namespace berth::server
