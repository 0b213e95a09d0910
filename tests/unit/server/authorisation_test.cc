// Who is let in where: every route of the table, with every scope, in every project. A route that
// nobody has thought about here fails.
#include "session_world.h"

#include <berth/server/auth/secret.h>

#include <fmt/format.h>
#include <algorithm>
#include <map>
#include <set>

namespace berth::server {
namespace {

constexpr AuthScope kScopes[] = {AuthScope::sessions_view, AuthScope::sessions_edit,
                                 AuthScope::sessions_run, AuthScope::admin};

/// What everybody may ask for without a token, with the reason.
const std::map<std::string_view, std::string_view> kPublic = {
    {"/", "the page holds no data, and its token is not sent by a browser that opens it"},
    {"/ui/{}", "the same"},
    {"/openapi.json", "it is the same for everybody, and in the documentation"},
    {"/healthz", "supervisors have no token, and it tells nothing"},
    {"/readyz", "the same"},
};
/// POSTs that need no more than sessions:view.
const std::set<std::string_view> kReadingPosts = {"/v1/tickets"};

class Authorisation : public testing::Test {
 protected:
  Authorisation() {
    OpenRequest request;
    request.id = "theirs";
    request.agent = "one";
    request.permission = "allow";
    world_.open(std::move(request));
    turn_ = world_.turn("hello");
  }

  std::string token(AuthScopes scopes, const std::string& project = "default",
                    Duration lifetime = {}) {
    Result<Tokens::Made> made =
        world_.gate().tokens().create({"a test's", project, scopes, lifetime});
    EXPECT_TRUE(made.has_value());
    last_ = made->row.id;
    return made->text;
  }
  /// The route's pattern with something in its places: a session (or an agent, or a token), then
  /// the turn.
  std::string target(const ApiRoute& route, const std::string& first) const {
    std::string path(route.pattern);
    for (const std::string& argument : {first, turn_, turn_}) {
      const std::size_t place = path.find("{}");
      if (place != std::string::npos) path.replace(place, 2, argument);
    }
    EXPECT_EQ(path.find("{}"), std::string::npos) << path;
    return path;
  }
  SessionWorld::Answer ask(const ApiRoute& route, const std::string& first, const std::string& by) {
    return world_.request(std::string(route.method), target(route, first), "{}", by);
  }
  static std::string code_of(const SessionWorld::Answer& answer) {
    return member(answer.body, "code");
  }
  static bool refused(const SessionWorld::Answer& answer) {
    return answer.status == 401 || answer.status == 403 || answer.status == 429;
  }

  SessionWorld world_;
  std::string turn_;
  std::string last_;  // id of the token made last
};

std::string name_of(const ApiRoute& route) {
  return fmt::format("{} {}", route.method, route.pattern);
}

TEST_F(Authorisation, IsDecidedForEveryRouteByItsRowInTheTable) {
  std::set<std::string> seen;
  for (const ApiRoute& route : Api::routes()) {
    EXPECT_TRUE(seen.insert(name_of(route)).second) << name_of(route) << " is there twice";
    EXPECT_NE(route.handler == nullptr, route.stream == nullptr) << name_of(route);
    EXPECT_EQ(route.scope == AuthScope::none, kPublic.contains(route.pattern)) << name_of(route);
    if (route.scope == AuthScope::sessions_view) {
      EXPECT_TRUE(route.method == "GET" || kReadingPosts.contains(route.pattern))
          << name_of(route) << " changes something";
    }
    if (route.method == "GET") {
      EXPECT_TRUE(route.scope == AuthScope::none || route.scope == AuthScope::sessions_view ||
                  route.scope == AuthScope::admin)
          << name_of(route) << " changes nothing";
    }
  }
}

TEST_F(Authorisation, LetsNobodyInWithoutAGoodToken) {
  const std::string revoked = token({AuthScope::admin});
  ASSERT_TRUE(world_.gate().tokens().revoke(last_).has_value());
  const std::string expired = token({AuthScope::admin}, "default", std::chrono::seconds(1));
  const std::string good = token({AuthScope::admin});
  world_.settle(std::chrono::seconds(2));
  std::string wrong = good;
  wrong.back() = wrong.back() == 'a' ? 'b' : 'a';
  for (const ApiRoute& route : Api::routes()) {
    if (route.scope == AuthScope::none) {
      EXPECT_FALSE(refused(ask(route, "none", ""))) << name_of(route);
      continue;
    }
    for (const std::string& by : {std::string(), wrong, revoked, expired, std::string("toke"),
                                  std::string("tokenn"), good.substr(0, good.size() - 1)}) {
      const SessionWorld::Answer answer = ask(route, "theirs", by);
      EXPECT_EQ(answer.status, 401) << name_of(route) << " by '" << by << "'";
      EXPECT_EQ(code_of(answer), "\"unauthorized\"");
      world_.settle(std::chrono::seconds(1));  // below the rate of failures
    }
  }
}

TEST_F(Authorisation, LetsEachScopeIntoItsOwnRoutesOnly) {
  for (const AuthScope scope : kScopes) {
    const AuthScopes scopes = {scope};
    const std::string by = token(scopes);
    for (const ApiRoute& route : Api::routes()) {
      // One that is not there: a look is not enough to change anything, but the door comes first.
      const SessionWorld::Answer answer = ask(route, "nothing-here", by);
      if (scopes.allow(route.scope)) {
        EXPECT_FALSE(refused(answer))
            << name_of(route) << " by " << to_string(scope) << ": " << answer.body;
      } else {
        EXPECT_EQ(answer.status, 403) << name_of(route) << " by " << to_string(scope);
        EXPECT_EQ(code_of(answer), "\"forbidden_scope\"");
        EXPECT_TRUE(holds(answer.body, to_string(route.scope))) << answer.body;
      }
    }
  }
}

/// Every problem names the trace of its own request.
std::string without_trace(std::string body) {
  const std::size_t at = body.find("\"trace_id\":");
  return at == std::string::npos ? body : body.substr(0, at);
}

TEST_F(Authorisation, AForeignSessionIsAnsweredAsOneThatDoesNotExist) {
  const std::string foreign =
      token({AuthScope::sessions_view, AuthScope::sessions_edit, AuthScope::sessions_run}, "other");
  int compared = 0;
  for (const ApiRoute& route : Api::routes()) {
    if (route.scope == AuthScope::none || route.pattern.find("{}") == std::string_view::npos) {
      continue;
    }
    EXPECT_TRUE(route.pattern.starts_with("/v1/sessions/{}") ||
                route.pattern.starts_with("/v1/agents/{}") ||
                route.pattern.starts_with("/v1/tokens/{}"))
        << name_of(route) << ": what does its first argument name, and whose is it?";
    const SessionWorld::Answer theirs = ask(route, "theirs", foreign);
    SessionWorld::Answer missing = ask(route, "absent", foreign);
    for (std::size_t at; (at = missing.body.find("absent")) != std::string::npos;) {
      missing.body.replace(at, 6, "theirs");
    }
    EXPECT_EQ(theirs.status, missing.status) << name_of(route);
    EXPECT_EQ(without_trace(theirs.body), without_trace(missing.body)) << name_of(route);
    EXPECT_GE(theirs.status, 400) << name_of(route);
    compared += theirs.status == 404 ? 1 : 0;
  }
  EXPECT_GE(compared, 25) << "most were looked up, not refused for their body";
  EXPECT_EQ(member(world_.request("GET", "/v1/sessions", "{}", foreign).body, "sessions"), "[]");
  EXPECT_EQ(world_.call("GET", "theirs").status, 200) << "nothing happened to it";
  EXPECT_EQ(member(world_.call("GET", "theirs").body, "state"), "\"open\"");
}

TEST_F(Authorisation, TwoProjectsMayHaveASessionOfOneName) {
  const std::string other = token({AuthScope::sessions_run}, "other");
  const std::string body = R"({"id":"theirs","agent":"two","permission":"allow"})";
  const SessionWorld::Answer made = world_.request("POST", "/v1/sessions", body, other);
  ASSERT_EQ(made.status, 201) << made.body;
  EXPECT_EQ(member(made.body, "project"), "\"other\"");
  EXPECT_EQ(member(world_.call("GET", "theirs").body, "agent"), "\"one\"");
  EXPECT_EQ(member(world_.request("GET", "/v1/sessions/theirs", "", other).body, "agent"),
            "\"two\"");
  world_.restart();
  EXPECT_EQ(member(world_.call("GET", "theirs").body, "agent"), "\"one\"");
}

TEST_F(Authorisation, OnlyWhoeverHasAllProjectsMayNameOne) {
  const auto in = [](const char* project) { return HttpHeaders{{"berth-project", project}}; };
  const std::string path = "/v1/sessions/theirs";
  EXPECT_EQ(world_.request("GET", path, "", "token", in("default")).status, 200);
  EXPECT_EQ(world_.request("GET", path, "", "token", in("other")).status, 404);
  EXPECT_EQ(world_.request("GET", path, "", "token", in("No Name")).status, 422);
  const std::string bound = token({AuthScope::sessions_view}, "other");
  EXPECT_EQ(world_.request("GET", path, "", bound, in("other")).status, 404);
  for (const char* project : {"default", "no-such"}) {
    const SessionWorld::Answer answer = world_.request("GET", path, "", bound, in(project));
    EXPECT_EQ(code_of(answer), "\"forbidden_project\"");
  }
}

TEST_F(Authorisation, ATokenIsShownOnceAndKeptByItsHash) {
  const std::string body = R"({"name":"ci","scopes":["sessions:run"],"project":"p"})";
  const SessionWorld::Answer made = world_.request("POST", "/v1/tokens", body);
  ASSERT_EQ(made.status, 201) << made.body;
  const Result<JsonDoc> doc = JsonDoc::parse(made.body);
  const std::string text(doc->root().get_string("token").value_or(""));
  ASSERT_TRUE(parse_token(text).has_value()) << text;
  const std::string secret(parse_token(text)->secret);
  EXPECT_EQ(member(world_.request("GET", "/v1/caller", "", text).body, "project"), "\"p\"");
  const SessionWorld::Answer list = world_.request("GET", "/v1/tokens");
  EXPECT_TRUE(holds(list.body, "\"ci\""));
  EXPECT_FALSE(holds(list.body, secret));
  world_.restart();
  EXPECT_FALSE(holds(world_.stored_bytes(), secret));
  EXPECT_EQ(world_.request("GET", "/v1/caller", "", text).status, 401) << "they are not loaded yet";
  ASSERT_TRUE(world_.await(world_.gate().tokens().load()).has_value());
  EXPECT_EQ(world_.request("GET", "/v1/caller", "", text).status, 200);
  const std::string id(doc->root().get_string("id").value_or(""));
  EXPECT_EQ(world_.request("DELETE", "/v1/tokens/" + id).status, 204);
  EXPECT_EQ(world_.request("DELETE", "/v1/tokens/" + id).status, 204);
  EXPECT_EQ(world_.request("GET", "/v1/caller", "", text).status, 401);
  EXPECT_EQ(world_.request("DELETE", "/v1/tokens/nothing").status, 404);
}

TEST_F(Authorisation, TokensThatEndedMakeRoomForNewOnes) {
  const std::size_t most = world_.gate().config().tokens_max;
  std::string text;
  std::string first;
  for (std::size_t i = 0; i < most; ++i) {
    text = token({AuthScope::sessions_view});
    if (i == 0) first = last_;
  }
  const TokenRequest one_more = {"one more", "default", {AuthScope::sessions_view}, {}};
  const Result<Tokens::Made> full = world_.gate().tokens().create(one_more);
  ASSERT_FALSE(full.has_value());
  EXPECT_TRUE(full.error().message.starts_with("tokens_max: "));
  ASSERT_TRUE(world_.gate().tokens().revoke(first).has_value());
  EXPECT_TRUE(world_.gate().tokens().create(one_more).has_value());
  world_.settle();
  EXPECT_EQ(world_.store().list_tokens()->size(), most);
}

TEST_F(Authorisation, ATicketIsGoodForOneReadingOfItsPath) {
  const std::string path = "/v1/sessions/theirs/events";
  const std::string viewer = token({AuthScope::sessions_view});
  const auto ticket = [&](const std::string& by) {
    const SessionWorld::Answer made =
        world_.request("POST", "/v1/tickets", R"({"path":")" + path + "\"}", by);
    EXPECT_EQ(made.status, 201) << made.body;
    const Result<JsonDoc> doc = JsonDoc::parse(made.body);
    return std::string(doc->root().get_string("ticket").value_or(""));
  };
  const auto use = [&](const std::string& method, const std::string& where, const std::string& by) {
    return world_.request(method, where + "?after=0&ticket=" + by, "", "").status;
  };
  const std::string first = ticket(viewer);
  EXPECT_EQ(use("GET", "/v1/sessions/theirs", first), 401) << "another path";
  EXPECT_EQ(use("HEAD", path, first), 401) << "another method";
  EXPECT_EQ(use("GET", path, first), 200);
  EXPECT_EQ(use("GET", path, first), 401) << "once";
  const std::string late = ticket(viewer);
  world_.settle(std::chrono::seconds(61));
  EXPECT_EQ(use("GET", path, late), 401);
  const std::string orphan = ticket(viewer);
  ASSERT_TRUE(world_.gate().tokens().revoke(last_).has_value());
  EXPECT_EQ(use("GET", path, orphan), 401) << "its token is revoked";
  EXPECT_EQ(use("GET", path, ticket("token")), 200);
  for (const char* wrong : {"/v1/tokens", "/v1/nothing", "/healthz", "x", "/v1/sessions?limit=1",
                            "/v1/sessions/theirs/close"}) {
    const std::string body = std::string(R"({"path":")") + wrong + "\"}";
    EXPECT_EQ(world_.request("POST", "/v1/tickets", body).status, 422) << wrong;
  }
}

TEST_F(Authorisation, WrongTokensAreAnsweredMoreSlowlyAndGoodOnesAreNot) {
  int denied = 0;
  SessionWorld::Answer answer;
  for (int i = 0; i < 100; ++i) {
    answer = world_.request("GET", "/v1/info", "", "wrong");
    denied += answer.status == 401 ? 1 : 0;
  }
  EXPECT_GE(denied, 60);
  EXPECT_LE(denied, 70);
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(member(answer.body, "limit"), "\"auth_failures_max\"");
  EXPECT_NE(find_header(answer.headers, "Retry-After"), nullptr);
  EXPECT_EQ(world_.request("GET", "/v1/info").status, 200);
  EXPECT_EQ(world_.gate().stats().auth_failures_refused, 100U - static_cast<unsigned>(denied));
}

TEST_F(Authorisation, PagesOfOtherOriginsAreTurnedAwayBeforeTheirTokenIsLookedAt) {
  const auto status = [&](const char* name, const char* value, const char* path = "/v1/info") {
    return world_.request("GET", path, "", "token", {{name, value}}).status;
  };
  EXPECT_EQ(status("host", "127.0.0.1:8420"), 200);
  EXPECT_EQ(status("host", "localhost"), 200);
  EXPECT_EQ(status("host", "evil.example"), 403);
  EXPECT_EQ(status("host", "evil.example", "/healthz"), 403);
  EXPECT_EQ(status("origin", "http://evil.example"), 403);
  EXPECT_EQ(status("origin", "null"), 403);
  const SessionWorld::Answer own =
      world_.request("GET", "/v1/info", "", "token",
                     {{"host", "localhost:8420"}, {"origin", "http://localhost:8420"}});
  EXPECT_EQ(own.status, 200);
  EXPECT_EQ(find_header(own.headers, "Access-Control-Allow-Origin"), nullptr);
}

}  // namespace
}  // namespace berth::server
