// git/names.h — the names that berth leaves in a repository, and the grammar that keeps them safe.
#pragma once

#include <berth/core/result.h>

#include <string>
#include <string_view>

namespace berth::git {

/// A key is a lower-case ULID: 26 characters of [0-9a-z]. The caller's session id never gets into a
/// repository.
bool is_key(std::string_view text);

/// The last part of a snapshot's or salvage's ref: [0-9a-z] then up to 63 of [0-9a-z-]; "base" is
/// taken.
bool is_ref_name(std::string_view text);

/// A full object id: 40 lower-case hex digits, 64 in a sha256 repository.
bool is_object_id(std::string_view text);

std::string branch_of(std::string_view key);      ///< "berth/<key>"
std::string branch_ref_of(std::string_view key);  ///< "refs/heads/berth/<key>"
std::string base_ref_of(std::string_view key);    ///< "refs/berth/s/<key>/base"
std::string snapshot_ref_of(std::string_view key,
                            std::string_view name);  ///< "refs/berth/s/<key>/<name>"
std::string salvage_ref_of(std::string_view key,
                           std::string_view name);  ///< "refs/berth/x/<key>/<name>"

/// `invalid` "bad_key" unless `key` is one.
Result<void> check_key(std::string_view key);

}  // namespace berth::git
