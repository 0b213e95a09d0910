// server/sessions/repository_url.h — repositories that a session names by a URL.
#pragma once

#include <berth/core/result.h>
#include <berth/server/store/records.h>

#include <string>
#include <string_view>

namespace berth::server {

/// True for file://, https:// and ssh:// and for "user@host:path", whatever else may be wrong with
/// it.
bool is_repository_url(std::string_view text);

/// Error `invalid` ("bad_field") when it names a password: it would be stored and shown.
Result<void> check_repository_url(std::string_view url);

/// The URL that a session was opened with; empty when it was a path, or none.
std::string repository_url_of(const SessionRow& row);

}  // namespace berth::server
