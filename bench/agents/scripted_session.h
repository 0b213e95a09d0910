// bench/agents/scripted_session.h — what the scripted agent remembers of a session, on its disk.
#pragma once

#include <berth/io/platform.h>

#include <string>
#include <vector>

namespace berth::bench {

class ScriptedSession {
 public:
  struct Entry {
    std::string prompt;
    std::string answer;
  };

  /// `folder` may be empty: then nothing is stored, and load() finds nothing.
  ScriptedSession(io::Files& files, std::string folder, std::string id, std::string directory);

  const std::string& id() const { return id_; }
  const std::string& directory() const { return directory_; }
  const std::vector<Entry>& history() const { return history_; }
  void add(std::string prompt, std::string answer);
  void remember(std::string_view word) { words_.emplace_back(word); }
  /// "3 prompts, remembered: a b"
  std::string recall() const;

  /// The next process shall not know this session.
  void forget() { forgotten_ = true; }

  bool load();
  void save();

 private:
  std::string path() const { return folder_ + "/" + id_ + ".json"; }

  io::Files& files_;
  std::string folder_;
  std::string id_;
  std::string directory_;
  std::vector<Entry> history_;
  std::vector<std::string> words_;
  bool forgotten_ = false;
};

}  // namespace berth::bench
