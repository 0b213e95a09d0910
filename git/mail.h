// git/mail.h — a change as a mail that `git am` takes.
#pragma once

#include <berth/git/apply.h>
#include <berth/git/diff.h>

#include <string>

namespace berth::git {

/// One message in mbox form: author, date, subject (the message's first line), body, trailers,
/// the list of files, and the patch of `change` (which must hold its patches; take it with
/// `binary_patches` where binary files matter). Names beyond ASCII are encoded (RFC 2047).
std::string as_mail(const CommitText& text, const Change& change);

}  // namespace berth::git
