// Scopes, and which of them each route needs.
#include <berth/server/api/api.h>
#include <berth/server/auth/caller.h>

#include <gtest/gtest.h>
#include <set>
#include <string>

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

TEST(Routes, AreListedOnceAndPublicOnlyForHealth) {
  std::set<std::string> seen;
  for (const ApiRoute& route : Api::routes()) {
    const std::string name = std::string(route.method) + " " + std::string(route.pattern);
    EXPECT_TRUE(seen.insert(name).second) << name;
    EXPECT_NE(route.handler == nullptr, route.stream == nullptr) << name;
    if (route.scope == AuthScope::none) {
      EXPECT_TRUE(route.pattern == "/healthz" || route.pattern == "/readyz") << name;
    }
    if (route.scope == AuthScope::sessions_view) EXPECT_EQ(route.method, "GET") << name;
  }
}

}  // namespace
}  // namespace berth::server
