// git/apply_journal.h — what an apply is about to do to files, so that a crash can be finished.
// Private to this folder.
#pragma once

#include <berth/core/result.h>

#include <string>

namespace berth::git::detail {

struct ApplyJournal {
  std::string checkout;  ///< Folder of the files.
  std::string from;      ///< Trees: what the files hold, and what they shall hold.
  std::string to;
  std::string branch_ref;  ///< Empty for working files alone.
  std::string old_commit;
  std::string new_commit;
};

/// Nothing for an empty path. The file is whole or not there.
Result<void> write_journal(const std::string& path, const ApplyJournal& journal);
/// Error `not_found` when there is none, `invalid` "bad_journal".
Result<ApplyJournal> read_journal(const std::string& path);

}  // namespace berth::git::detail
