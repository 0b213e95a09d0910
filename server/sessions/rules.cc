#include <berth/server/sessions/rules.h>

#include <berth/core/json_doc.h>

#include <algorithm>
#include <array>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kTextMax = 4096;
constexpr std::size_t kPatternMax = 1024;
constexpr std::size_t kRulesMax = 256;
/// What lets a shell run more than the one command: a cautious `*` stops there.
constexpr std::string_view kShellOperators = ";&|<>`$(){}\n\r\\";

enum class Wild : std::uint8_t { path, command, cautious_command };

bool may_swallow(char c, Wild wild) {
  switch (wild) {
    case Wild::path:
      return c != '/';
    case Wild::command:
      return true;
    case Wild::cautious_command:
      return kShellOperators.find(c) == std::string_view::npos;
  }
  return false;
}

/// Which ends of prefixes of `text` the pattern so far can reach; one pass for each of its parts.
class Matcher {
 public:
  explicit Matcher(std::string_view text) : text_(text), reach_(text.size() + 1, false) {
    reach_[0] = true;
  }

  bool run(std::string_view pattern, Wild wild) {
    for (std::size_t i = 0; i < pattern.size();) {
      const std::string_view rest = pattern.substr(i);
      if (wild == Wild::path && rest.starts_with("**/")) {
        folders();
        i += 3;
      } else if (wild == Wild::path && rest.starts_with("**")) {
        star([](char) { return true; });
        i += 2;
      } else if (rest.front() == '*') {
        star([wild](char c) { return may_swallow(c, wild); });
        i += 1;
      } else if (rest.front() == '?') {
        one([wild](char c) { return may_swallow(c, wild); });
        i += 1;
      } else {
        one([want = rest.front()](char c) { return c == want; });
        i += 1;
      }
    }
    return reach_.back();
  }

 private:
  template <typename Fits>
  void one(Fits fits) {
    for (std::size_t i = text_.size(); i > 0; --i) reach_[i] = reach_[i - 1] && fits(text_[i - 1]);
    reach_[0] = false;
  }
  template <typename Fits>
  void star(Fits fits) {
    for (std::size_t i = 1; i <= text_.size(); ++i) {
      if (reach_[i - 1] && fits(text_[i - 1])) reach_[i] = true;
    }
  }
  /// No folder, or any number of them with the slash behind.
  void folders() {
    bool begun = reach_[0];
    for (std::size_t i = 1; i <= text_.size(); ++i) {
      const bool was = reach_[i];
      if (begun && text_[i - 1] == '/') reach_[i] = true;
      begun = begun || was;
    }
  }

  std::string_view text_;
  std::vector<bool> reach_;
};

/// Absolute, without "." and ".."; links are not followed, this is about names.
std::string normalised(std::string_view path, std::string_view workspace) {
  std::string whole(path.starts_with("/") ? std::string_view() : workspace);
  whole += '/';
  whole += path;
  std::vector<std::string_view> parts;
  for (std::string_view rest = whole; !rest.empty();) {
    const std::size_t slash = std::min(rest.find('/'), rest.size());
    const std::string_view part = rest.substr(0, slash);
    rest.remove_prefix(std::min(slash + 1, rest.size()));
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) {
    out += '/';
    out += part;
  }
  return out.empty() ? "/" : out;
}

enum class Fit : std::uint8_t { no, unknown, yes };

bool may_run_commands(std::string_view kind) {
  return kind.empty() || kind == "execute" || kind == "other";
}

bool may_touch_files(std::string_view kind) {
  static constexpr std::array<std::string_view, 7> kinds = {"",     "read",   "edit", "delete",
                                                            "move", "search", "other"};
  return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
}

Fit fit_kind(const PermissionRule& rule, const ToolCall& call) {
  if (rule.kind.empty() || rule.kind == call.kind) return Fit::yes;
  return call.kind.empty() ? Fit::unknown : Fit::no;
}

Fit fit_path(const PermissionRule& rule, const ToolCall& call, std::string_view workspace) {
  if (rule.path.empty()) return Fit::yes;
  if (call.paths.empty()) return may_touch_files(call.kind) ? Fit::unknown : Fit::no;
  const auto fits = [&](const std::string& path) {
    return path_matches(rule.path, path, workspace);
  };
  // To allow, all of them must be meant; to refuse, one is enough.
  const bool match = rule.action == PolicyAction::allow
                         ? std::all_of(call.paths.begin(), call.paths.end(), fits)
                         : std::any_of(call.paths.begin(), call.paths.end(), fits);
  return match ? Fit::yes : Fit::no;
}

Fit fit_command(const PermissionRule& rule, const ToolCall& call) {
  if (rule.command.empty()) return Fit::yes;
  if (call.command.empty()) return may_run_commands(call.kind) ? Fit::unknown : Fit::no;
  if (call.command.size() > kTextMax) return Fit::unknown;
  const bool cautious = rule.action == PolicyAction::allow;
  return command_matches(rule.command, call.command, cautious) ? Fit::yes : Fit::no;
}

Fit fit(const PermissionRule& rule, const ToolCall& call, std::string_view workspace) {
  return std::min({fit_kind(rule, call), fit_path(rule, call, workspace), fit_command(rule, call)});
}

PolicyAction action_named(std::string_view name) {
  if (name == "allow") return PolicyAction::allow;
  if (name == "reject") return PolicyAction::reject;
  return PolicyAction::ask;
}

Result<PermissionRule> read_rule(const JsonView& view, const std::string& at) {
  if (!view.is_object()) return fail(ErrorKind::invalid, "bad_field", at + ": must be an object");
  PermissionRule rule;
  std::string action;
  for (const auto& member : view.members()) {
    std::string* field = member.first == "kind"      ? &rule.kind
                         : member.first == "path"    ? &rule.path
                         : member.first == "command" ? &rule.command
                         : member.first == "action"  ? &action
                                                     : nullptr;
    const std::string name = at + "." + std::string(member.first);
    if (field == nullptr) return fail(ErrorKind::invalid, "unknown_field", name + ": unknown");
    const auto text = member.second.as_string();
    if (!text.has_value() || text->empty() || text->size() > kPatternMax) {
      return fail(ErrorKind::invalid, "bad_field", name + ": must be a string of 1 to 1024 bytes");
    }
    *field = *text;
  }
  if (action != "allow" && action != "reject" && action != "ask") {
    return fail(ErrorKind::invalid, "bad_field", at + ".action: must be allow, reject or ask");
  }
  rule.action = action_named(action);
  return rule;
}

}  // namespace

std::string_view to_string(PolicyAction action) {
  switch (action) {
    case PolicyAction::ask:
      return "ask";
    case PolicyAction::allow:
      return "allow";
    case PolicyAction::reject:
      return "reject";
  }
  return "ask";
}

bool path_matches(std::string_view pattern, std::string_view path, std::string_view workspace) {
  std::string whole = normalised(path, workspace);
  if (whole.size() > kTextMax) return false;
  std::string_view text = whole;
  if (!pattern.starts_with("/")) {
    const std::string root = normalised(workspace, "/");
    const bool inside = text.starts_with(root) && text.size() > root.size() &&
                        (root == "/" || text[root.size()] == '/');
    if (!inside) return false;
    text.remove_prefix(root == "/" ? 1 : root.size() + 1);
  }
  return Matcher(text).run(pattern, Wild::path);
}

bool command_matches(std::string_view pattern, std::string_view command, bool cautious) {
  if (command.size() > kTextMax) return false;
  return Matcher(command).run(pattern, cautious ? Wild::cautious_command : Wild::command);
}

Result<std::vector<PermissionRule>> parse_rules(std::string_view json) {
  std::vector<PermissionRule> rules;
  if (json.empty()) return rules;
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  if (!doc.has_value() || !doc->root().is_array()) {
    return fail(ErrorKind::invalid, "bad_field", "rules: must be an array");
  }
  for (const JsonView& view : doc->root().elements()) {
    Result<PermissionRule> rule = read_rule(view, "rules[" + std::to_string(rules.size()) + "]");
    if (!rule.has_value()) return fail(std::move(rule.error()));
    rules.push_back(std::move(*rule));
  }
  if (rules.size() > kRulesMax) {
    return fail(ErrorKind::invalid, "bad_field", "rules: at most " + std::to_string(kRulesMax));
  }
  return rules;
}

Verdict judge(std::string_view policy, const std::vector<PermissionRule>& rules,
              const ToolCall& call, std::string_view workspace) {
  Verdict verdict{action_named(policy), 0};
  int number = 0;
  for (const PermissionRule& rule : rules) {
    ++number;
    const Fit match = fit(rule, call, workspace);
    if (match == Fit::yes) {
      verdict = {rule.action, number};
    } else if (match == Fit::unknown && rule.action != PolicyAction::allow &&
               verdict.action == PolicyAction::allow) {
      verdict = {PolicyAction::ask, number};
    }
  }
  return verdict;
}

}  // namespace berth::server
