// The pure parts of the door: scopes, secrets, rates, hosts, origins.
#include <berth/core/prng.h>
#include <berth/server/auth/audit.h>
#include <berth/server/auth/browser.h>
#include <berth/server/auth/caller.h>
#include <berth/server/auth/rate.h>
#include <berth/server/auth/secret.h>
#include <berth/server/auth/tickets.h>

#include <gtest/gtest.h>
#include <set>
#include <string>
#include <vector>

namespace berth::server {
namespace {

constexpr AuthScope kAll[] = {AuthScope::none, AuthScope::sessions_view, AuthScope::sessions_edit,
                              AuthScope::sessions_run, AuthScope::admin};

TEST(AuthScopes, ImplyViewButNeverEachOther) {
  struct Case {
    AuthScopes given;
    std::string allowed;  // in the order of kAll
  };
  const Case cases[] = {
      {{}, "y...."},
      {{AuthScope::sessions_view}, "yy..."},
      {{AuthScope::sessions_edit}, "yyy.."},
      {{AuthScope::sessions_run}, "yy.y."},
      {{AuthScope::sessions_edit, AuthScope::sessions_run}, "yyyy."},
      {{AuthScope::admin}, "yyyyy"},
  };
  for (const Case& one : cases) {
    std::string allowed;
    for (const AuthScope scope : kAll) allowed += one.given.allow(scope) ? 'y' : '.';
    EXPECT_EQ(allowed, one.allowed);
  }
}

TEST(AuthScopes, AreCalledAsTheyAreParsed) {
  for (const AuthScope scope : kAll) {
    const auto parsed = parse_auth_scope(to_string(scope));
    EXPECT_EQ(parsed.has_value(), scope != AuthScope::none) << "nobody is given `none`";
    if (parsed.has_value()) EXPECT_EQ(*parsed, scope);
  }
  EXPECT_FALSE(parse_auth_scope("sessions").has_value());
  EXPECT_FALSE(parse_auth_scope("").has_value());
}

TEST(Projects, HaveNamesThatFitIntoAFileName) {
  EXPECT_TRUE(is_project_name("default"));
  EXPECT_TRUE(is_project_name("a.b-c_9"));
  EXPECT_TRUE(is_project_name(std::string(64, 'a')));
  for (const std::string& wrong : {std::string(), std::string(65, 'a'), std::string("A"),
                                   std::string(".."), std::string("a/b"), std::string("-a")}) {
    EXPECT_FALSE(is_project_name(wrong)) << wrong;
  }
}

TEST(Secrets, AreLongAndNeverTheSame) {
  Prng random(7);
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string secret = make_secret(random);
    EXPECT_EQ(secret.size(), 43U);
    EXPECT_TRUE(seen.insert(secret).second);
  }
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Secrets, AreReadAsTheyAreWritten) {
  Prng random(7);
  const std::string id = make_ulid(1'795'000'000'000, random);
  const std::string secret = make_secret(random);
  const std::string text = write_token(id, secret);
  const auto parts = parse_token(text);
  ASSERT_TRUE(parts.has_value());
  EXPECT_EQ(parts->id, id);
  EXPECT_EQ(parts->secret, secret);
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_FALSE(parse_token(text.substr(0, length)).has_value());
  }
  EXPECT_FALSE(parse_token(text + "x").has_value());
  EXPECT_FALSE(parse_token("Xerth_" + text.substr(6)).has_value());
}

TEST(Secrets, AreEqualOnlyWhenTheyAre) {
  EXPECT_TRUE(equal_in_constant_time("", ""));
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  for (const char* other : {"", "ab", "abcd", "abd", "xbc", "abcabc"}) {
    EXPECT_FALSE(equal_in_constant_time(other, "abc")) << other;
  }
}

TEST(RateLimits, GiveABurstThenARate) {
  RateLimiter limiter({.per_second = 2, .burst = 3});
  TimePoint now{};
  const auto take = [&](int times) {
    int taken = 0;
    for (int i = 0; i < times; ++i) taken += limiter.take("a", now) ? 1 : 0;
    return taken;
  };
  EXPECT_EQ(take(10), 3);
  now += std::chrono::seconds(1);
  EXPECT_EQ(take(10), 2);
  now += std::chrono::hours(1);
  EXPECT_EQ(take(10), 3);
  EXPECT_EQ(limiter.refused(), 22U);
  EXPECT_TRUE(limiter.take("b", now)) << "each key has its own";
}

TEST(RateLimits, AreBoundedInKeysAndNobodyGainsByNewOnes) {
  RateLimiter limiter({.per_second = 1, .burst = 1}, 4);
  TimePoint now{};
  int taken = 0;
  for (int i = 0; i < 1000; ++i) taken += limiter.take(std::to_string(i), now) ? 1 : 0;
  EXPECT_EQ(taken, 5) << "four, and one for all others together";
  EXPECT_LE(limiter.keys(), 5U);
  now += std::chrono::seconds(10);
  EXPECT_TRUE(limiter.take("new", now)) << "those that rest make room";
  EXPECT_LE(limiter.keys(), 5U);
}

TEST(RateLimits, CountAMachineByItsAddress) {
  EXPECT_EQ(peer_key("10.0.0.1:4711"), "10.0.0.1");
  EXPECT_EQ(peer_key("[2001:db8:1:2:3:4:5:6]:80"), "[2001:db8:1:2::]");
  EXPECT_EQ(peer_key("[2001:db8:1:2::9]:80"), "[2001:db8:1:2::]");
  EXPECT_EQ(peer_key("[::1]:80"), "[::]");
  EXPECT_EQ(peer_key("unix:"), "unix");
  EXPECT_EQ(peer_key("unknown"), "unknown");
}

TEST(Hosts, AreOwnWhenNoPageCanHaveThem) {
  for (const char* own :
       {"127.0.0.1", "127.0.0.1:8420", "10.1.2.3:80", "[::1]:8420", "localhost", "LOCALHOST:1",
        "berth.localhost", "build.example:8443", "Build.Example."}) {
    EXPECT_TRUE(is_own_host(own, {"build.example"})) << own;
  }
  for (const char* other :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "x", "1.2.3",
        "evillocalhost", "abuild.example", "build.example.evil", "2130706433", "0x7f.0.0.1", ""}) {
    EXPECT_FALSE(is_own_host(other, {"build.example"})) << other;
  }
}

TEST(Origins, AreJudgedByTheHostThatWasAskedFor) {
  const std::vector<std::string> listed = {"https://ui.example"};
  const auto judge = [&](const char* origin, const char* host) {
    return judge_origin(origin, host, listed);
  };
  EXPECT_EQ(judge("", "localhost"), OriginVerdict::none);
  EXPECT_EQ(judge("http://localhost:8420", "localhost:8420"), OriginVerdict::same);
  EXPECT_EQ(judge("https://berth.example", "berth.example"), OriginVerdict::same);
  EXPECT_EQ(judge("http://localhost:3000", "localhost:8420"), OriginVerdict::foreign);
  EXPECT_EQ(judge("https://ui.example", "localhost"), OriginVerdict::listed);
  EXPECT_EQ(judge("http://ui.example", "localhost"), OriginVerdict::foreign) << "no TLS";
  EXPECT_EQ(judge("https://ui.example.evil", "localhost"), OriginVerdict::foreign);
  EXPECT_EQ(judge("http://evil-localhost:8420", "localhost:8420"), OriginVerdict::foreign);
  EXPECT_EQ(judge("http://evil.example", ""), OriginVerdict::foreign);
  EXPECT_EQ(judge("null", "localhost"), OriginVerdict::foreign);
  EXPECT_EQ(judge("null", "null"), OriginVerdict::foreign);
  EXPECT_TRUE(is_origin("https://ui.example:8443"));
  for (const char* wrong : {"ui.example", "https://", "https://ui.example/", "*", "null"}) {
    EXPECT_FALSE(is_origin(wrong)) << wrong;
  }
}

class MovedClock final : public Clock {
 public:
  TimePoint now() const override { return time; }
  WallTime wall() const override { return {}; }
  TimePoint time{};
};

TEST(TicketsOfBrowsers, AreForOneLookAtOnePathAndForNothingButLooking) {
  Prng random(7);
  MovedClock clock;
  Tickets tickets(random, clock, {.tickets_max = 2, .ticket_life = std::chrono::seconds(60)});
  Caller admin;
  admin.project = "one";
  admin.scopes = {AuthScope::admin};
  const std::string ticket = *tickets.issue(admin, "/v1/watch");
  EXPECT_FALSE(tickets.take(ticket, "/v1/events").has_value());
  const std::optional<Caller> looked = tickets.look(ticket, "/v1/watch");
  ASSERT_TRUE(looked.has_value()) << "another path did not use it up";
  EXPECT_EQ(looked->project, "one");
  EXPECT_TRUE(looked->scopes.allow(AuthScope::sessions_view));
  for (const AuthScope more :
       {AuthScope::sessions_edit, AuthScope::sessions_run, AuthScope::admin}) {
    EXPECT_FALSE(looked->scopes.allow(more)) << to_string(more);
  }
  EXPECT_TRUE(tickets.take(ticket, "/v1/watch").has_value());
  EXPECT_FALSE(tickets.take(ticket, "/v1/watch").has_value()) << "it is used up";

  const std::string late = *tickets.issue(admin, "/v1/watch");
  ASSERT_TRUE(tickets.issue(admin, "/v1/watch").has_value());
  EXPECT_FALSE(tickets.issue(admin, "/v1/watch").has_value()) << "tickets_max";
  clock.time += std::chrono::seconds(60);
  EXPECT_FALSE(tickets.look(late, "/v1/watch").has_value());
  EXPECT_TRUE(tickets.issue(admin, "/v1/watch").has_value()) << "the late ones made room";
}

TEST(AuditLines, SayWhoDidWhatAndNothingElse) {
  Caller caller;
  caller.token_id = "01j";
  caller.name = "ci \"x\"\n";
  const std::vector<std::string> arguments = {"fix", std::string(1000, 'a')};
  AuditEntry entry;
  entry.caller = &caller;
  entry.peer = "10.0.0.1:9";
  entry.method = "POST";
  entry.route = "/v1/sessions/{}/turns/{}/cancel";
  entry.arguments = &arguments;
  entry.status = 202;
  EXPECT_EQ(audit_line(entry, WallTime(0)),
            R"({"time":"1970-01-01T00:00:00.000Z","token":"01j","name":"ci \"x\"\n",)"
            R"("project":"default","peer":"10.0.0.1:9","method":"POST",)"
            R"("route":"/v1/sessions/{}/turns/{}/cancel","arguments":["fix",")" +
                std::string(128, 'a') + "\"],\"status\":202}\n");
}

}  // namespace
}  // namespace berth::server
