// server/sessions/attribution.h — which turns and agents touched which file of a session's change.
#pragma once

#include <berth/server/sessions/workspaces.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Somebody who changed a file: an agent in a turn, or a person (any program, in truth) outside of
/// every turn.
struct Toucher {
  std::int64_t turn = 0;  ///< With an agent: its turn. Without: the turn after which it was, or 0.
  std::string agent;      ///< Profile; empty: outside of every turn.

  bool operator==(const Toucher&) const = default;
};

/// The `touched` column of a change as a value; single-threaded. Files keep their history when they
/// are as in the base again, so that a later edit shows everybody who had a part in it.
class Attribution {
 public:
  Attribution() = default;
  /// What cannot be read is left out: a missing badge harms less than a change that cannot be seen.
  static Attribution parse(std::string_view json);
  std::string json() const;

  /// `by`, oldest first, changed these files in a stretch that nobody looked into. A renamed file
  /// keeps what was known of its old name.
  void note(const std::vector<ChangedFile>& files, const std::vector<Toucher>& by);
  /// Oldest first; empty when nobody is known.
  std::vector<Toucher> of(const std::string& path) const;

  /// A turn whose files are not known: its snapshot was skipped or failed. The next stretch counts
  /// for it too.
  void owe(Toucher turn);
  const std::vector<Toucher>& owed() const { return owed_; }
  void settle() { owed_.clear(); }

  /// The files (all when empty) are back to what they were at the end of `turn`.
  void forget_after(std::int64_t turn, const std::vector<std::string>& paths);
  /// Drops files that `open` does not hold when there are more than `files_max`.
  void bound(const std::vector<ChangedFile>& open, std::size_t files_max);

 private:
  std::map<std::string, std::vector<Toucher>, std::less<>> files_;
  std::vector<Toucher> owed_;
};

/// [{"turn":3,"agent":"qwen"},{"turn":3,"agent":null}]
std::string touchers_json(const std::vector<Toucher>& touchers);

/// For people when more than one had a part: "changed by qwen (turns 1 and 3) and by hand after
/// turn 3". Empty otherwise.
std::string note_of(const std::vector<Toucher>& touchers);

}  // namespace berth::server
