// git/mail.h — a change as a mail that `git am` takes.
#pragma once

#include <berth/git/apply.h>
#include <berth/git/diff.h>

#include <cstdint>
#include <string>

namespace berth::git {

/// What stands in a mail's Date header, in UTC: "Sat, 21 Nov 2026 08:00:00 +0000".
std::string mail_date(std::int64_t time_s);

/// One message in mbox form: author, date, subject (the message's first line), body, trailers,
/// the list of files, and the patch of `change` (which must hold its patches; take it with
/// `binary_patches` where binary files matter). Names beyond ASCII are encoded (RFC 2047).
std::string as_mail(const CommitText& text, const Change& change);

}  // namespace berth::git
