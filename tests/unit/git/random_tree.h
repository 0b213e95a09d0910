// tests/unit/git/random_tree.h — a folder that is grown and edited at random, with all that makes
// git's rules hard.
#pragma once

#include <map>
#include <random>
#include <string>
#include <vector>

namespace berth::git::test {

/// 1 to `count`, five times as many with BERTH_FULL=1; the one of BERTH_GIT_SEED if it is set.
std::vector<unsigned> seeds(unsigned count);

/// Everything follows from the seed and from what the folder holds.
class RandomTree {
 public:
  /// `nested` is a repository with a commit, to be copied.
  RandomTree(std::string root, std::string nested, unsigned seed);

  /// The same decisions go on in another folder, such as a checkout of what was grown.
  void move_to(std::string root);
  /// Writes some files, with rules for ignoring and attributes among them.
  void grow(int files);
  /// Makes some random edits.
  void edit(int edits);
  /// To be called after somebody else changed the folder.
  void settle();

  /// What notifications would have named since the last call: files, and folders that came or went.
  std::vector<std::string> take_touched();
  /// How often each kind of edit was made.
  const std::map<std::string, int>& met() const { return met_; }
  unsigned below(unsigned bound) { return static_cast<unsigned>(engine_()) % bound; }

 private:
  std::string full(const std::string& path) const { return root_ + "/" + path; }
  std::string pick_name();
  std::string pick_path();
  std::string pick_existing();
  std::string pick_folder();
  std::string lines(unsigned count);
  std::string rules();
  std::string attributes();
  bool make_room(const std::string& path);
  void put(const std::string& path, const std::string& content);
  void remove(const std::string& path);
  void touch_everything();

  void edit_once();
  void rewrite();
  void insert_or_truncate();
  void change_mode();
  void rename();
  void rename_folder();
  void make_link();
  void make_folder_of_file();
  void make_binary();
  void plant_repository();
  void change_rules();
  void change_attributes();
  void same_size();

  std::string root_;
  std::string nested_;
  std::mt19937 engine_;
  std::vector<std::string> touched_;
  std::map<std::string, int> met_;
  std::map<std::string, std::string> attributes_;
};

}  // namespace berth::git::test
